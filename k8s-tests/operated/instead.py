"""An operator with a change in the place of the Deployment's: the same image and pod, but for the program that it runs.

The program is a module of these tests, which the pod gets as a file; `operated.unguarded`: the one with guards off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.looking import seen
from migrating.life import Life
from operated.resource import OPERATOR

UNGUARDED = "operated.unguarded"
MODULES = Path(__file__).parent.parent
NAME = "operator-instead"
FOLDER = "/changed"


@dataclass(frozen=True)
class Instead:
    """The pod that runs it. Whoever wants the Deployment's to stand by beside it scales that up."""

    world: Life

    def log(self) -> str:
        return self.world.cluster.kubectl.run("logs", NAME, self.world.scope)

    def says(self, text: str, within: float = 40) -> str:
        """Its log, once that has the text."""
        return seen(lambda: log if text in (log := self.log()) else "", within, lambda: f"{text!r}, but {self.log()}")

    def run(self, code: str) -> None:
        """Python code in its container."""
        self.world.cluster.kubectl.run("exec", NAME, self.world.scope, "--", "python", "-c", code)

    def terminate(self) -> None:
        """Have it end as on an eviction: it gives its Lease back, and the one that stands by takes over at once."""
        self.world.cluster.kubectl.run("delete", "pod", NAME, self.world.scope, "--wait=false")


@contextmanager
def operator_instead(world: Life, *words: str, module: str = UNGUARDED) -> Iterator[Instead]:
    """`python -m module words` is at work, alone. Afterwards the Deployment's is, alone, whatever it was before."""
    kubectl = world.cluster.kubectl
    deployment = kubectl.json("get", "deployment", OPERATOR, world.scope)
    world.operator_scaled(0)
    kubectl.apply([_files(world, module), _pod(deployment, module, words)], world.namespace)
    instead = Instead(world)
    try:
        seen(lambda: world.operator_at_work() == NAME, 60, lambda: f"{NAME} at work, but {instead.log()}")
        yield instead
    finally:
        kubectl.run("delete", f"pod/{NAME}", f"configmap/{NAME}", world.scope, "--now", "--ignore-not-found")
        world.operator_scaled(1)
        taken_over(world)


def taken_over(world: Life, within: float = 30) -> None:
    """Returns when the operator of the Deployment is at work."""
    seen(
        lambda: world.operator_at_work() in world.operator_pods(),
        within,
        lambda: f"the takeover, but {world.operator_at_work()} is at work",
    )


def _paths(module: str) -> list[str]:
    return [f"{name.replace('.', '/')}.py" for name in sorted({UNGUARDED, module})]


def _key(path: str) -> str:
    return path.replace("/", ".")


def _files(world: Life, module: str) -> dict[str, Any]:
    texts = {_key(path): (MODULES / path).read_text(encoding="utf-8") for path in _paths(module)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": world.namespace},
        "data": texts,
    }


def _pod(deployment: dict[str, Any], module: str, words: tuple[str, ...]) -> dict[str, Any]:
    """As the Deployment's, but for what it runs, and without its labels."""
    spec = deployment["spec"]["template"]["spec"]
    container = {name: value for name, value in spec["containers"][0].items() if not name.endswith("Probe")}
    changed = {
        **container,
        "command": ["python", "-m", module, *words],
        "env": [*container["env"], {"name": "PYTHONPATH", "value": FOLDER}],
        "volumeMounts": [*container["volumeMounts"], {"name": "changed", "mountPath": FOLDER}],
    }
    items = [{"key": _key(path), "path": path} for path in _paths(module)]
    volume = {"name": "changed", "configMap": {"name": NAME, "items": items}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": deployment["metadata"]["namespace"]},
        "spec": {
            **spec,
            "restartPolicy": "Never",
            "containers": [changed],
            "volumes": [*spec["volumes"], volume],
        },
    }
