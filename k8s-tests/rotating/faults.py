"""What gets in the way of a rotation, done on purpose."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError
from cluster.model import Cluster
from load.disturbances import pods
from load.looking import seen
from migrating import database
from operated.resource import OPERATOR
from rotating.world import World

LONGEST_SESSION = 600
"""Seconds after which a session ends by itself."""
UNREADY = "/tmp/unready"  # noqa: S108 - in the container, and its volume is the pod's own
PROBE = {
    "httpGet": None,
    "exec": {"command": ["sh", "-c", f"test ! -e {UNREADY}"]},
    "periodSeconds": 1,
    "failureThreshold": 1,
}


@contextmanager
def nudging_forbidden(world: World) -> Iterator[None]:
    """The operator may not touch the status of pods meanwhile."""
    kubectl = world.cluster.kubectl
    role = kubectl.json("get", "role", OPERATOR, world.scope)
    kept = [rule for rule in role["rules"] if "pods/status" not in rule["resources"]]
    if kept == role["rules"]:
        raise ClusterError("the operator has no such right")

    def become(rules: list[dict[str, object]]) -> None:
        body = json.dumps({"rules": rules})
        kubectl.run("patch", "role", OPERATOR, world.scope, "--type=merge", f"--patch={body}")

    become(kept)
    try:
        yield
    finally:
        become(role["rules"])


@contextmanager
def cut_off(world: World, pod: str) -> Iterator[None]:
    """The operator's pod can't reach that one meanwhile; everybody else can. On this machine's own cluster only."""
    (operator,) = world.operator_pods()
    address = world.cluster.kubectl.json("get", "pod", pod, world.scope)["status"]["podIP"]
    network = f"--net=/proc/{_process_of(world, operator)}/ns/net"

    def route(verb: str) -> None:
        run(["nsenter", network, "ip", "route", verb, "blackhole", f"{address}/32"], timeout=10)

    route("add")
    try:
        yield
    finally:
        route("del")


def _process_of(world: World, pod: str) -> str:
    """A process of its container, as this machine numbers it."""
    status = world.cluster.kubectl.json("get", "pod", pod, world.scope)["status"]["containerStatuses"][0]
    container = status["containerID"].split("://")[1]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if container in (process / "cgroup").read_text(encoding="utf-8"):
                return process.name
        except OSError:
            continue
    raise ClusterError(f"no process of {pod} is on this machine")


@contextmanager
def pods_unready(world: World, image: str) -> Iterator[None]:
    """All API pods run and serve on, and none is ready. Their probe is changed first, by an upgrade."""
    world.upgrade(image, probes={"readiness": PROBE})
    names = world.settled(2)
    for name in names:
        world.cluster.kubectl.run("exec", name, world.scope, "--", "touch", UNREADY)
    seen(lambda: not _ready(world), 30, "no ready pod")
    try:
        yield
        if _ready(world):
            raise ClusterError("a pod became ready meanwhile")
    finally:
        for name in names:
            world.cluster.kubectl.run("exec", name, world.scope, "--", "rm", UNREADY)
        world.settled(2)


def _ready(world: World) -> bool:
    conditions = [one for pod in pods(world.cluster, world.namespace) for one in pod["status"]["conditions"]]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@contextmanager
def session_of(cluster: Cluster, namespace: str, role: str) -> Iterator[int]:
    """A session of a role that does nothing and doesn't end; yields its pid."""
    name = "lingering"
    words = [str(cluster.kubectl.path), f"--kubeconfig={cluster.kubectl.kubeconfig}", f"--namespace={namespace}"]
    words += ["exec", database.POD, "--container=postgresql", "--", "env", f"PGAPPNAME={name}"]
    words += ["psql", f"--username={role}", "--dbname=slipway", f"--command=SELECT pg_sleep({LONGEST_SESSION})"]
    asked = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'"  # noqa: S608 - a name of ours
    own = {**os.environ, **cluster.kubectl.environment}
    process = subprocess.Popen(words, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - kubectl
    try:
        rows = seen(lambda: database.sql(cluster, namespace, asked), 20, f"a session of {role}")
        yield int(rows[0][0])
    finally:
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"  # noqa: S608
        try:
            database.sql(cluster, namespace, ended)
        finally:
            process.terminate()
            process.wait(10)
