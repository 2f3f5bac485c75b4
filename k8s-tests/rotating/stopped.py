"""Two operators at one namespace, of which the one at work is stopped for a while right before a change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.looking import seen
from migrating.life import Life
from operated.resource import OPERATOR

POD = "stopping"
CODE = Path(__file__).with_name("stopping.py")


@dataclass(frozen=True)
class Stopping:
    """The pod of the operator that will stop."""

    world: Life

    def log(self) -> str:
        return self.world.cluster.kubectl.run("logs", POD, self.world.scope)

    def stopped(self, within: float = 40) -> None:
        """Returns when it stands still, its Lease held and its change decided upon."""
        seen(lambda: "stopping: stopped" in self.log(), within, lambda: f"the stop, but {self.log()}")

    def ended(self, within: float = 60) -> str:
        """Its log, once its process has ended."""
        seen(lambda: "stopping: ended with" in self.log(), within, lambda: f"the end, but {self.log()}")
        return self.log()


def taken_over(world: Life, within: float = 30) -> None:
    """Returns when the operator of the Deployment is at work."""
    seen(
        lambda: world.operator_at_work() in world.operator_pods(),
        within,
        lambda: f"the takeover, but {world.operator_at_work()} is at work",
    )


@contextmanager
def stopping_operator(world: Life, change: str, seconds: float, guards: str = "fenced") -> Iterator[Stopping]:
    """It is at work, and the Deployment's stands by. Afterwards only that one is there."""
    kubectl = world.cluster.kubectl
    deployment = kubectl.json("get", "deployment", OPERATOR, world.scope)
    world.operator_scaled(0)
    kubectl.apply([_pod(deployment, change, seconds, guards)], world.namespace)
    try:
        seen(lambda: world.operator_at_work() == POD, 60, f"{POD} at work")
        # It gets ready beside another that is at work: no rollout waits for that.
        world.operator_scaled(1)
        yield Stopping(world)
    finally:
        kubectl.run("delete", "pod", POD, world.scope, "--grace-period=0", "--force", "--ignore-not-found")
        world.operator_scaled(1)
        taken_over(world)


def _pod(deployment: dict[str, Any], change: str, seconds: float, guards: str) -> dict[str, Any]:
    """As the Deployment's, but for what it runs, and without its labels."""
    spec = deployment["spec"]["template"]["spec"]
    container = {name: value for name, value in spec["containers"][0].items() if not name.endswith("Probe")}
    command = ["python", "-c", CODE.read_text(encoding="utf-8"), change, str(seconds), guards]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": deployment["metadata"]["namespace"]},
        "spec": {**spec, "restartPolicy": "Never", "containers": [{**container, "command": command}]},
    }
