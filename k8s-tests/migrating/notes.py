"""An application with plain Alembic and nothing of Slipway in it, by plain manifests, beside the chart's demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.images.build import build_plain_alembic
from cluster.model import Cluster
from migrating.database import sql
from migrating.injecting import IN_JOBS, SIDECAR, in_force, mutating, sidecar
from migrating.life import SMALL, Life, life_opened
from migrating.plain import deployment, migration
from migrating.resource import Migration

NAME = "notes"
CONFIG = "/app/alembic.ini"
OWNER, SERVICE = "notes-owner", "notes-login"


@contextmanager
def notes_opened(cluster: Cluster, service_image: str, say: Callable[[str], None]) -> Iterator[Life]:
    """The demo, for its PostgreSQL and its operator; the application has a database of its own there."""
    for target in ("first", "third"):
        cluster.load_image(build_plain_alembic(target))
    with life_opened(cluster, service_image, say, SMALL) as opened:
        opened.upgrade(service_image)
        sql(cluster, opened.namespace, f"CREATE DATABASE {NAME}")
        logins = [("slipway-database-owner", OWNER), ("slipway-login", SERVICE)]
        cluster.kubectl.apply([_login(opened, *each) for each in logins], opened.namespace)
        yield opened


def notes_of(life: Life) -> Migration:
    return Migration(life.cluster, life.namespace, NAME)


def _login(life: Life, origin: str, name: str) -> dict[str, Any]:
    """As the demo's, for the other database."""
    values = life.cluster.kubectl.json("get", "secret", origin, life.scope)["data"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return {
        **secret,
        "data": {key: value for key, value in values.items() if key not in ("database", "uri")},
        "stringData": {"database": NAME},
    }


def deployed(life: Life, target: str, **spec: Any) -> None:
    """Image and wish, as people write them; `spec` goes on top of the wish."""
    image = f"plain-alembic:{target}"
    mounts = [
        {"name": "login", "mountPath": "/login", "readOnly": True},
        {"name": "script", "mountPath": "/var/run/slipway", "readOnly": True},
    ]
    wait = ["python", "/var/run/slipway/plain_alembic.py", f"--config={CONFIG}", "wait"]
    made = deployment(
        NAME,
        image,
        replicas=1,
        env=[{"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": "/login"}],
        volumeMounts=mounts,
        readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    )
    pod = made["spec"]["template"]["spec"]
    (main,) = pod["containers"]
    gate = {key: value for key, value in main.items() if key != "readinessProbe"}
    pod["initContainers"] = [{**gate, "name": "wait", "command": wait}]
    pod["volumes"] = [
        {"name": "login", "secret": {"secretName": SERVICE}},
        {"name": "script", "configMap": {"name": f"{NAME}-script"}},
    ]
    life.cluster.kubectl.apply([made, migration(NAME, image, OWNER, config=CONFIG, **spec)], life.namespace)


@contextmanager
def meshed(life: Life) -> Iterator[None]:
    """While it lasts, a mesh puts a sidecar into the pods of Jobs that don't ask to be spared."""
    image = "plain-alembic:first"
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": {"slipway.dev/purpose": "plan"}},
        "spec": deployment(NAME, image)["spec"]["template"]["spec"],
    }
    with mutating(life.cluster, life.namespace, "pods", sidecar(image), IN_JOBS):
        in_force(life.cluster, life.namespace, probe, SIDECAR)
        yield


def columns(life: Life) -> set[str]:
    """Of the application's table."""
    asked = "SELECT column_name FROM information_schema.columns WHERE table_name = 'notes'"
    return {row[0] for row in sql(life.cluster, life.namespace, asked, NAME)}


def touched(life: Life) -> str:
    """The image that the Deployment has after somebody touched it."""
    kubectl = life.cluster.kubectl
    kubectl.run("annotate", f"deployment/{NAME}", life.scope, "touched=yes", "--overwrite")
    return kubectl.run(
        "get", f"deployment/{NAME}", life.scope, "--output=jsonpath={.spec.template.spec.containers[0].image}"
    )


def rolled_out(life: Life) -> None:
    words = ("rollout", "status", f"deployment/{NAME}", life.scope, "--timeout=90s")
    life.cluster.kubectl.run(*words, timeout=100)
