"""Pods that use the stray ring's keys: found by what they mount, for no label of theirs is the selector's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trustme

from rotating.stray import KEYS, NAME, Stray

WORKERS = 3
SERVER_NAME = "workers.example"
HTTPS = {"scheme": "HTTPS", "serverName": SERVER_NAME, "ca": {"configMapName": NAME}}
"""Of a ring's consumers."""
APP = f"""
import json, os, pathlib, uuid
PROCESS, KEYS = uuid.uuid4().hex, pathlib.Path("/keys")
def there(name): return pathlib.Path("/tmp", name).exists()
def held():
    ids = [key["kid"] for key in json.loads((KEYS / "jwks.json").read_bytes())["keys"]]
    return {{"keys": ids, "signing": (KEYS / "signing").read_text()}}
try:
    os.close(os.open("/tmp/first", os.O_CREAT | os.O_EXCL))
    FIRST = True
except FileExistsError:
    FIRST = False
told = held()
async def app(scope, receive, send):
    global told
    if scope["type"] != "http":
        return
    if not (FIRST and there("late")):
        told = held()
    process = {{}} if there("silent") else {{"process": PROCESS, "processes": {WORKERS}}}
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": json.dumps({{**told, **process}}).encode()}})
"""
"""Each worker loads the keys whenever it is asked; the first doesn't while /tmp/late is there. With /tmp/silent none
tells of the others."""
SERVE = (
    "uvicorn workers:app --app-dir=/tmp --lifespan=off --host=0.0.0.0 --port=9090 "
    f"--workers={WORKERS} --ssl-keyfile=/tls/key --ssl-certfile=/tls/chain"
)
TAKES_AND_CLOSES = """
import socket
with socket.create_server(("", 9090)) as server:
    while True:
        taken, _ = server.accept()
        taken.recv(1000)
        taken.close()
"""
RUNS_ON = "import time; time.sleep(600)"
JOB, MESHED = "stray-job", "stray-meshed"


class Workers:
    """A pod of several workers."""

    def __init__(self, stray: Stray) -> None:
        self._stray = stray

    @contextmanager
    def having(self, *files: str) -> Iterator[None]:
        paths = [f"/tmp/{name}" for name in files]  # noqa: S108 - in the container, and its volume is the pod's own
        self._exec("touch", *paths)
        try:
            yield
        finally:
            self._exec("rm", *paths)

    def _exec(self, *words: str) -> None:
        world = self._stray.world
        world.cluster.kubectl.run("exec", NAME, world.scope, "--", *words)


@contextmanager
def workers(stray: Stray, image: str) -> Iterator[Workers]:
    """They speak TLS, as `SERVER_NAME`, by the authority in a ConfigMap."""
    world, authority = stray.world, trustme.CA()
    issued = authority.issue_cert(SERVER_NAME)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems).decode()
    roots = {"ca.crt": authority.cert_pem.bytes().decode()}
    files = {"key": issued.private_key_pem.bytes().decode(), "chain": chain}
    start = f"printenv APP > /tmp/workers.py && exec python -m {SERVE}"
    spec = _spec(image, NAME, ["sh", "-c", start], "tls")
    spec["containers"][0]["env"] = [{"name": "APP", "value": APP}]
    spec["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/keys", "port": "ops", "scheme": "HTTPS"},
        "periodSeconds": 1,
    }
    applied = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": roots},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec},
    ]
    world.cluster.kubectl.apply(applied, world.namespace)
    try:
        world.cluster.kubectl.wait(f"pod/{NAME}", "Ready", world.namespace)
        yield Workers(stray)
    finally:
        gone = (f"pod/{NAME}", f"configmap/{NAME}", "secret/tls")
        world.cluster.kubectl.run("delete", *gone, world.scope, "--now", timeout=60)


@contextmanager
def unaskable(stray: Stray, image: str) -> Iterator[None]:
    """One of a Job, which tells nothing, and one whose mesh takes the connection and closes it."""
    world = stray.world
    job = _spec(image, JOB, ["python", "-c", RUNS_ON])
    template = {"spec": {**job, "restartPolicy": "Never"}}
    meshed = _spec(image, "istio-proxy", ["python", "-c", TAKES_AND_CLOSES])
    applied = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": JOB}, "spec": {"template": template}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": MESHED}, "spec": meshed},
    ]
    world.cluster.kubectl.apply(applied, world.namespace)
    try:
        world.cluster.kubectl.wait(f"pod/{MESHED}", "Ready", world.namespace)
        world.cluster.kubectl.wait(f"job/{JOB}", "jsonpath={.status.ready}=1", world.namespace)
        yield
    finally:
        gone = (f"job/{JOB}", f"pod/{MESHED}")
        world.cluster.kubectl.run("delete", *gone, world.scope, "--now", "--cascade=foreground", timeout=60)


def _spec(image: str, name: str, command: list[str], *secrets: str) -> dict[str, Any]:
    """Of a pod with that one container, which has the keys, and these Secrets, in folders of their names."""
    held: dict[str, dict[str, Any]] = {
        "keys": {"secret": {"secretName": KEYS}},
        **{each: {"secret": {"secretName": each}} for each in secrets},
    }
    folders = {**held, "tmp": {"emptyDir": {}}}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "ports": [{"name": "ops", "containerPort": 9090}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in folders],
    }
    return {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": each, **source} for each, source in folders.items()],
    }
