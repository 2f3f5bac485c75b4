"""The promise itself: pods come and go under load, and no request fails.

One release of the chart is changed again and again while a generator in the cluster reads, writes and signs in on new
and kept-alive connections. Each scenario prints `requests N failed 0`. A Prometheus with the chart's own rules watches
all of it, and no alert may fire.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from charts.render import CHART, Renderer
from cluster.model import Cluster
from firing.watching import Watch, rendered, watching
from load.disturbances import evict, kill
from load.installed import ABRUPT
from load.looking import seen
from load.reporting import line_writer
from load.scene import Scene, scene_opened
from load.verdict import nothing_failed
from migrating.database import sql

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str, pytestconfig: pytest.Config) -> Iterator[Scene]:
    with scene_opened(cluster, service_image, next_image, line_writer(pytestconfig)) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def watch(scene: Scene, renderer: Renderer) -> Iterator[Watch]:
    """With every threshold, window and `for` as shipped."""
    rules = rendered(renderer, scene.graceful(), scene.namespace)
    with watching(scene.cluster, scene.namespace, rules, every=5) as opened:
        yield opened


@pytest.fixture
def steady(scene: Scene) -> Scene:
    """Two pods of a release whose pods leave gracefully; what the rolling update leaves behind."""
    scene.become(scene.graceful(scene.next_image))
    scene.settled(2)
    return scene


def test_without_pre_stop_and_drain_an_update_fails_requests(scene: Scene) -> None:
    scene.become(scene.graceful(scene.next_image, rollout=ABRUPT))
    scene.settled(2)
    # New connections meet closed listeners; many of them and two updates, so that the control doesn't hang by a few. It
    # ends when the last request does, so what nobody answers is given up soon.
    with scene.load(rate=80, new_share=1.0, timeout=8) as running:
        scene.become(scene.graceful(rollout=ABRUPT))
        scene.settled(2)
        scene.become(scene.graceful())
        scene.settled(2)
        outcome = scene.told("update without preStop and drain", running.finish())
    assert outcome.failed > 0
    assert outcome.lost_connections() > 0, outcome.failures


def test_a_rolling_update_of_api_and_worker_to_another_image_fails_nothing(scene: Scene) -> None:
    scene.become(scene.graceful())
    scene.settled(2)
    with scene.load(export_every=3) as running:
        scene.become(scene.graceful(scene.next_image))
        scene.settled(2)
        scene.settled(1, "worker")
        outcome = scene.told("rolling update", running.finish())
    nothing_failed(outcome)
    assert outcome.report["exports_acknowledged"] >= 2
    assert scene.images("api") == scene.images("worker") == {scene.next_image}


def test_scaling_up_and_down_fails_nothing(steady: Scene) -> None:
    with steady.load() as running, steady.replicas_watched() as replicas:
        for count in (4, 2):
            steady.scale(count)
        outcome = steady.told("scale 2 → 4 → 2", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted == [2, 4, 2]  # and the watch sees a dip when there is one


def test_evictions_fail_nothing_and_take_turns(steady: Scene) -> None:
    with steady.load() as running:
        first, second = steady.settled(2)
        seen(lambda: steady.disruptions_allowed() == 1, 30, "the budget allowing one eviction, and only one")
        assert evict(steady.cluster, steady.namespace, first)
        assert not evict(steady.cluster, steady.namespace, second), "the budget let both go at once"
        seen(lambda: evict(steady.cluster, steady.namespace, second), 60, "the budget allowing the second eviction")
        remaining = steady.settled(2)
        outcome = steady.told("eviction of each pod in turn", running.finish())
    nothing_failed(outcome)
    assert not {first, second} & set(remaining)


def test_a_killed_process_fails_nothing_but_what_was_on_it(steady: Scene) -> None:
    victim, _ = steady.settled(2)
    # Many new connections, so that some meet the dead pod for certain.
    with steady.load(retry_idempotent=True, sign_in_every=0, rate=80, new_share=1.0) as running:
        kill(steady.cluster, steady.namespace, victim, steady.image)
        steady.settled(2)
        outcome = steady.told("kill -9 of a pod's process, idempotent requests repeated", running.finish())
    nothing_failed(outcome, repeats=True)
    assert outcome.retried > 0, "nothing was on the killed process: the kill proved nothing"
    assert outcome.retried < outcome.requests / 4


@pytest.mark.usefixtures("steady")
def test_no_alert_fired_during_any_of_it(watch: Watch) -> None:
    seen(
        lambda: watch.targets() == {"slipway-metrics": 2, "slipway-worker-metrics": 1, "slipway-operator-metrics": 1},
        30,
        lambda: str(watch.targets()),
    )
    assert watch.rule_faults() == []
    assert watch.alerts() == {path.stem for path in (CHART / "alerts").glob("*.yaml")}
    ((_, requests),) = [series["value"] for series in watch.query("sum(increase(slipway_slo_requests_total[1h]))")]
    assert float(requests) > 1000, "it has hardly seen the load"
    assert watch.fired() == set()


def test_the_same_watch_sees_a_fault(steady: Scene, watch: Watch) -> None:
    given_up = "INSERT INTO jobs (name, payload, dead_at) VALUES ('nobody.knows', '{}', now())"
    sql(steady.cluster, steady.namespace, given_up)
    seen(lambda: watch.fired() == {"SlipwayJobsDead"}, 60, lambda: f"a dead job told, but {watch.fired()}")
