"""A release of the chart under load: what it shall become, and what becomes of its pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

from cluster.model import Cluster
from load.disturbances import pods, settled
from load.harness import Outcome, RunningLoad, Traffic, running_load
from load.installed import GRACEFUL, Installed, values
from load.watch import Replicas, replicas_watched

AUTOSCALING = {
    "enabled": True,
    "minReplicas": 2,
    "maxReplicas": 4,
    "targetCPUUtilizationPercentage": 900,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
"""A target that the load doesn't reach."""
EAGER = {**AUTOSCALING, "targetCPUUtilizationPercentage": 50}
"""A target that it does."""
IDLE = 40
"""Percent of the requested processor time; below the target that the load exceeds."""


class Scene:
    """The release, and what it was last told to be."""

    def __init__(
        self, cluster: Cluster, namespace: str, image: str, next_image: str, say: Callable[[str], None]
    ) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.image, self.next_image = image, next_image
        self._say = say
        self._installed = Installed(cluster, namespace)
        self._values: dict[str, Any] = {}

    def become(self, wanted: dict[str, Any]) -> None:
        """Install or upgrade, and wait until Helm calls it ready; nothing when it is like that already."""
        if wanted != self._values:
            self._values = {}  # of a failed upgrade nobody knows what it left
            self._installed.apply(wanted)
            self._values = wanted

    def graceful(self, image: str | None = None, **others: Any) -> dict[str, Any]:
        """Values with short, sufficient times of leaving."""
        return values(image or self.image, **{"rollout": GRACEFUL, **others})

    def settled(self, count: int = 2, component: str = "api") -> list[str]:
        return settled(self.cluster, self.namespace, count, component)

    def images(self, component: str) -> set[str]:
        found = pods(self.cluster, self.namespace, component)
        return {container["image"] for pod in found for container in pod["spec"]["containers"]}

    def scale(self, count: int) -> None:
        """As a person would by hand; returns when the pods are there and the surplus is gone."""
        self.cluster.kubectl.run("scale", "deployment/slipway", self._scope, f"--replicas={count}")
        self.settled(count)

    def rollout_done(self) -> None:
        self.cluster.kubectl.run("rollout", "status", "deployment/slipway", self._scope, "--timeout=60s", timeout=70)

    def utilization(self) -> int | None:
        """Percent of the processor time that pods request, as the autoscaler last saw it."""
        hpa = self.cluster.kubectl.json("get", "horizontalpodautoscaler/slipway", self._scope)
        for metric in hpa.get("status", {}).get("currentMetrics") or []:
            if "resource" in metric:
                return int(metric["resource"]["current"]["averageUtilization"])
        return None

    def idle(self) -> bool:
        """Whether the pods use so little that the load must be seen against it."""
        used = self.utilization()
        return used is not None and used < IDLE

    def disruptions_allowed(self) -> int:
        """How many pods the disruption budget lets go now."""
        budget = self.cluster.kubectl.json("get", "poddisruptionbudget/slipway", self._scope)
        return int(budget.get("status", {}).get("disruptionsAllowed", 0))

    def told(self, scenario: str, outcome: Outcome) -> Outcome:
        """Say the scenario's figures, whether they please or not."""
        self._say(outcome.sentence(scenario))
        return outcome

    def load(self, **traffic: Any) -> AbstractContextManager[RunningLoad]:
        return running_load(self.cluster, self.namespace, self.image, Traffic(**traffic))

    def replicas_watched(self) -> AbstractContextManager[Replicas]:
        return replicas_watched(self.cluster.kubectl, self.namespace)

    @property
    def _scope(self) -> str:
        return f"--namespace={self.namespace}"


@contextmanager
def scene_opened(cluster: Cluster, image: str, next_image: str, say: Callable[[str], None]) -> Iterator[Scene]:
    """In a namespace of its own, with nothing installed yet; `say` is given each scenario's figures."""
    with cluster.namespace(f"nothing-fails-{uuid4().hex[:6]}") as namespace:
        yield Scene(cluster, namespace, image, next_image, say)
