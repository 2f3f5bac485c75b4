"""The promise itself: pods come and go under load, and no request fails.

One release of the chart is changed again and again while a generator in the cluster reads, writes and signs in on new
and kept-alive connections. Each scenario prints `requests N failed 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from cluster.model import Cluster
from load.disturbances import evict, kill
from load.harness import Outcome
from load.installed import ABRUPT
from load.looking import seen
from load.scene import AUTOSCALING, EAGER, Scene

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str) -> Iterator[Scene]:
    with cluster.namespace(f"nothing-fails-{uuid4().hex[:6]}") as namespace:
        yield Scene(cluster, namespace, service_image, next_image)


@pytest.fixture
def steady(scene: Scene) -> Scene:
    """Two pods of a release whose pods leave gracefully; what the rolling update leaves behind."""
    scene.become(scene.graceful(scene.next_image))
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


def nothing_failed(outcome: Outcome) -> None:
    assert outcome.requests > 100
    assert outcome.failed == 0, outcome.failures
    assert outcome.retried == 0


def test_without_pre_stop_and_drain_an_update_fails_requests(scene: Scene, told: Told) -> None:
    scene.become(scene.graceful(scene.next_image, rollout=ABRUPT))
    scene.settled(2)
    with scene.load() as running:
        scene.become(scene.graceful())
        scene.settled(2)
        outcome = told("update without preStop and drain", running.finish())
    assert outcome.failed > 0


def test_a_rolling_update_of_api_and_worker_to_another_image_fails_nothing(scene: Scene, told: Told) -> None:
    scene.become(scene.graceful())
    scene.settled(2)
    with scene.load(export_every=3) as running:
        scene.become(scene.graceful(scene.next_image))
        scene.settled(2)
        scene.settled(1, "worker")
        outcome = told("rolling update", running.finish())
    nothing_failed(outcome)
    assert outcome.report["exports_acknowledged"] >= 2
    assert scene.images("api") == scene.images("worker") == {scene.next_image}


def test_scaling_up_and_down_fails_nothing(steady: Scene, told: Told) -> None:
    with steady.load() as running, steady.replicas_watched() as replicas:
        for count in (4, 2):
            steady.scale(count)
        outcome = told("scale 2 → 4 → 2", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted == [2, 4, 2]  # and the watch sees a dip when there is one


def test_evictions_fail_nothing_and_take_turns(steady: Scene, told: Told) -> None:
    with steady.load() as running:
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
    with steady.load(retry_idempotent=True, sign_in_every=0) as running:
        kill(steady.cluster, steady.namespace, victim, steady.image)
        steady.settled(2)
        outcome = told("kill -9 of a pod's process, idempotent requests repeated", running.finish())
    assert outcome.requests > 100
    assert outcome.failed == 0, outcome.failures
    assert outcome.retried > 0, "nothing was on the killed process: the kill proved nothing"


def test_switching_autoscaling_on_fails_nothing_and_never_dips(steady: Scene, told: Told) -> None:
    with steady.load() as running, steady.replicas_watched() as replicas:
        steady.become(steady.graceful(steady.next_image, autoscaling=AUTOSCALING))
        hpa = steady.cluster.kubectl.json("get", "horizontalpodautoscaler/slipway", f"--namespace={steady.namespace}")
        outcome = told("autoscaling switched on", running.finish())
    nothing_failed(outcome)
    assert hpa["spec"]["minReplicas"] == 2
    assert min(replicas.wanted) == 2
    assert min(replicas.ready) >= 2


def test_autoscaling_reacts_to_load_within_a_minute_and_fails_nothing(scene: Scene, told: Told) -> None:
    scene.become(scene.graceful(scene.next_image, autoscaling=AUTOSCALING))
    scene.settled(2)
    seen(lambda: (scene.utilization() or 100) < 40, 90, lambda: f"idle pods, but they use {scene.utilization()} %")
    scene.become(scene.graceful(scene.next_image, autoscaling=EAGER))
    with scene.replicas_watched() as replicas, scene.load(rate=60) as running:
        seen(lambda: replicas.wanted[-1] > 2, 60, lambda: f"the autoscaler wanting more: {replicas.wanted}")
        scene.rollout_done()
        outcome = told("scale-up by load", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted[0] == 2
    assert replicas.ready[-1] > 2
