"""The promise itself: pods come and go under load, and no request fails.

One release of the chart is changed again and again while a generator in the cluster reads, writes and signs in on new
and kept-alive connections. Each scenario prints `requests N failed 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from cluster.model import Cluster
from load.disturbances import evict, kill, pods, settled
from load.harness import Outcome, RunningLoad, Traffic, running_load
from load.installed import ABRUPT, GRACEFUL, Installed, values
from load.looking import seen
from load.watch import replicas_watched

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

pytestmark = pytest.mark.timeout(240)


class Scene:
    """The release, and what it was last told to be."""

    def __init__(self, cluster: Cluster, namespace: str, image: str, next_image: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.image, self.next_image = image, next_image
        self._installed = Installed(cluster, namespace)
        self.values: dict[str, Any] = {}

    def become(self, wanted: dict[str, Any]) -> None:
        """Apply and wait until its pods are all there is."""
        if wanted != self.values:
            self._installed.apply(wanted)
            self.values = wanted

    def graceful(self, image: str | None = None) -> dict[str, Any]:
        return values(image or self.image, rollout=GRACEFUL)

    def settled(self, count: int = 2) -> list[str]:
        return settled(self.cluster, self.namespace, count)

    def images(self, component: str) -> set[str]:
        found = pods(self.cluster, self.namespace, component)
        return {container["image"] for pod in found for container in pod["spec"]["containers"]}


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str) -> Iterator[Scene]:
    with cluster.namespace(f"nothing-fails-{uuid4().hex[:6]}") as namespace:
        yield Scene(cluster, namespace, service_image, next_image)


@pytest.fixture
def steady(scene: Scene) -> Scene:
    """Two pods of a release whose pods leave gracefully."""
    scene.become(scene.graceful())
    scene.settled(2)
    return scene


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Outcome], Outcome]:
    """Prints the scenario's line also when the test passes."""

    def tell(scenario: str, outcome: Outcome) -> Outcome:
        with capsys.disabled():
            print(f"\n{outcome.sentence(scenario)}")  # noqa: T201 - the figure is asked for
        return outcome

    return tell


Told = Callable[[str, Outcome], Outcome]


def load(scene: Scene, **traffic: Any) -> Any:
    return running_load(scene.cluster, scene.namespace, scene.image, Traffic(**traffic))


def nothing_failed(outcome: Outcome) -> None:
    assert outcome.requests > 100
    assert outcome.failed == 0, outcome.failures
    assert outcome.retried == 0


def test_without_pre_stop_and_drain_an_update_fails_requests(scene: Scene, told: Told) -> None:
    scene.become(values(scene.next_image, rollout=ABRUPT))
    scene.settled(2)
    running: RunningLoad
    with load(scene) as running:
        scene.become(scene.graceful())
        scene.settled(2)
        outcome = told("update without preStop and drain", running.finish())
    assert outcome.failed > 0


def test_a_rolling_update_of_api_and_worker_to_another_image_fails_nothing(steady: Scene, told: Told) -> None:
    running: RunningLoad
    with load(steady) as running:
        steady.become(steady.graceful(steady.next_image))
        steady.settled(2)
        outcome = told("rolling update", running.finish())
    nothing_failed(outcome)
    assert steady.images("api") == steady.images("worker") == {steady.next_image}


def test_scaling_up_and_down_fails_nothing(steady: Scene, told: Told) -> None:
    running: RunningLoad
    with load(steady) as running, replicas_watched(steady.cluster.kubectl, steady.namespace) as replicas:
        for count in (4, 2):
            scale(steady, count)
            steady.settled(count)
        outcome = told("scale 2 → 4 → 2", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted == [2, 4, 2]  # and the watch sees a dip when there is one


def scale(scene: Scene, count: int) -> None:
    scope = f"--namespace={scene.namespace}"
    scene.cluster.kubectl.run("scale", "deployment/slipway", scope, f"--replicas={count}")


def test_evictions_fail_nothing_and_take_turns(steady: Scene, told: Told) -> None:
    running: RunningLoad
    with load(steady) as running:
        first, second = steady.settled(2)
        assert evict(steady.cluster, steady.namespace, first)
        assert not evict(steady.cluster, steady.namespace, second), "the budget let both go at once"
        seen(lambda: evict(steady.cluster, steady.namespace, second), 60, "the budget allowing the second eviction")
        remaining = steady.settled(2)
        outcome = told("eviction of each pod in turn", running.finish())
    nothing_failed(outcome)
    assert not {first, second} & set(remaining)


def test_a_killed_process_fails_nothing_but_what_was_on_it(steady: Scene, told: Told) -> None:
    victim, _ = steady.settled(2)
    running: RunningLoad
    with load(steady, retry_idempotent=True, sign_in_every=0) as running:
        kill(steady.cluster, steady.namespace, victim, steady.image)
        steady.settled(2)
        outcome = told("kill -9 of a pod's process, idempotent requests repeated", running.finish())
    assert outcome.requests > 100
    assert outcome.failed == 0, outcome.failures
    assert outcome.retried > 0, "nothing was on the killed process: the kill proved nothing"


def test_switching_autoscaling_on_fails_nothing_and_never_dips(steady: Scene, told: Told) -> None:
    running: RunningLoad
    with load(steady) as running, replicas_watched(steady.cluster.kubectl, steady.namespace) as replicas:
        steady.become({**steady.graceful(), "autoscaling": AUTOSCALING})
        hpa = steady.cluster.kubectl.json("get", "horizontalpodautoscaler/slipway", f"--namespace={steady.namespace}")
        outcome = told("autoscaling switched on", running.finish())
    nothing_failed(outcome)
    assert hpa["spec"]["minReplicas"] == 2
    assert min(replicas.wanted) == 2
    assert min(replicas.ready) >= 2


def test_autoscaling_reacts_to_load_within_a_minute_and_fails_nothing(scene: Scene, told: Told) -> None:
    scene.become({**scene.graceful(), "autoscaling": AUTOSCALING})
    scene.settled(2)
    seen(lambda: (utilization(scene) or 100) < 40, 90, lambda: f"idle pods, but they use {utilization(scene)} %")
    scene.become({**scene.graceful(), "autoscaling": EAGER})
    running: RunningLoad
    with replicas_watched(scene.cluster.kubectl, scene.namespace) as replicas, load(scene, rate=60) as running:
        seen(lambda: replicas.wanted[-1] > 2, 60, lambda: f"the autoscaler wanting more: {replicas.wanted}")
        rollout_done(scene)
        outcome = told("scale-up by load", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted[0] == 2
    assert replicas.ready[-1] > 2


def utilization(scene: Scene) -> int | None:
    """Percent of the processor time that pods request, as the autoscaler last saw it."""
    scope = f"--namespace={scene.namespace}"
    status = scene.cluster.kubectl.json("get", "horizontalpodautoscaler/slipway", scope).get("status", {})
    for metric in status.get("currentMetrics") or []:
        if "resource" in metric:
            return int(metric["resource"]["current"]["averageUtilization"])
    return None


def rollout_done(scene: Scene) -> None:
    scope = f"--namespace={scene.namespace}"
    scene.cluster.kubectl.run("rollout", "status", "deployment/slipway", scope, "--timeout=60s", timeout=70)
