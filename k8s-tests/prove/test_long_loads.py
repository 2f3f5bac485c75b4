"""The long matrix of "nothing fails": more rates, only new or only kept-alive connections, everything repeated.

Background jobs are asked for all the while. Writes the table in docs/nothing-fails.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.model import Cluster
from load.disturbances import evict, kill
from load.harness import Outcome
from load.installed import ABRUPT
from load.looking import seen
from load.reporting import line_writer
from load.scene import AUTOSCALING, EAGER, Scene, scene_opened
from load.table import Row, write
from load.verdict import nothing_failed

pytestmark = pytest.mark.timeout(900)

JOBS = {"export_every": 5.0}
CHARTS_OWN = {"preStopSeconds": 5, "drainSeconds": 15, "shutdownSeconds": 15, "minReadySeconds": 5}
"""The defaults of the chart."""

TABLE = Path(__file__).parents[2] / "docs" / "nothing-fails.md"
KILLED = "kill -9 of each pod's process; idempotent requests repeated"
KILLED_CONTROL = "Control: kill -9, nothing repeated"
ABRUPT_CONTROL = "Control: rolling update without preStop and drain"
SWITCHED_ON, SCALED_UP = "Autoscaling switched on", "Scale-up by load"
OTHERS = {KILLED, KILLED_CONTROL, ABRUPT_CONTROL, SWITCHED_ON, SCALED_UP}
"""Rows beside those of SCENARIOS."""


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str, pytestconfig: pytest.Config) -> Iterator[Scene]:
    with scene_opened(cluster, service_image, next_image, line_writer(pytestconfig)) as opened:
        yield opened


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Each scenario adds its row, also one that failed; only all of them together make the document's table."""
    measured: list[Row] = []
    yield measured
    if {row.scenario for row in measured} == {scenario.name for scenario in SCENARIOS} | OTHERS:
        write(TABLE, measured)


@dataclass(frozen=True)
class Scenario:
    name: str
    act: Callable[[Scene], None]
    traffic: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    """Values that differ from the others'."""


def updates(times: int, **others: Any) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        for number in range(times):
            image = scene.image if number % 2 else scene.next_image
            scene.become(scene.graceful(image, **others))
            scene.settled(2)
            scene.settled(1, "worker")

    return act


def scale_far(scene: Scene) -> None:
    for count in (6, 1, 2):
        scene.scale(count)


def evict_when_allowed(scene: Scene, pod: str) -> None:
    seen(lambda: evict(scene.cluster, scene.namespace, pod), 90, f"leave to evict {pod}")


def drain_everything(scene: Scene) -> None:
    """Every pod of API and worker goes, twice, as when all nodes are replaced."""
    for _ in range(2):
        for component, count in (("api", 2), ("worker", 1)):
            for pod in scene.settled(count, component):
                evict_when_allowed(scene, pod)
            scene.settled(count, component)


def kill_each(scene: Scene) -> None:
    for pod in scene.settled(2):
        kill(scene.cluster, scene.namespace, pod, scene.image)
        scene.settled(2)


SCENARIOS = [
    Scenario("Rolling update, four times", updates(4), JOBS),
    Scenario("Rolling update, twice the rate", updates(2), {**JOBS, "rate": 60}),
    Scenario("Rolling update, only new connections", updates(2), {**JOBS, "new_share": 1}),
    Scenario("Rolling update, only kept-alive connections", updates(2), {**JOBS, "new_share": 0}),
    Scenario(
        "Rolling update, the chart's own times",
        updates(2, rollout=CHARTS_OWN),
        JOBS,
        {"rollout": CHARTS_OWN},
    ),
    Scenario("Scale 2 → 6 → 1 → 2", scale_far, JOBS),
    Scenario("Eviction of every pod in turn, twice", drain_everything, JOBS),
]


def measured(rows: list[Row], scene: Scene, name: str, outcome: Outcome) -> Outcome:
    rows.append(Row(name, outcome.report["rate"], outcome))
    return scene.told(name, outcome)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_fails_through(scene: Scene, rows: list[Row], scenario: Scenario) -> None:
    scene.become(scene.graceful(**scenario.before))
    scene.settled(2)
    with scene.load(seconds=800, **scenario.traffic) as running:
        scenario.act(scene)
        outcome = measured(rows, scene, scenario.name, running.finish(after=5))
    nothing_failed(outcome)


def test_killing_each_process_fails_nothing_that_may_be_repeated(scene: Scene, rows: list[Row]) -> None:
    scene.become(scene.graceful())
    scene.settled(2)
    with scene.load(seconds=800, retry_idempotent=True, sign_in_every=0) as running:
        kill_each(scene)
        outcome = measured(rows, scene, KILLED, running.finish(after=5))
    nothing_failed(outcome, repeats=True)
    assert 0 < outcome.retried < outcome.requests / 10


def test_a_kill_without_repeats_fails_requests(scene: Scene, rows: list[Row]) -> None:
    """The control of the one above: what the repeats hide is seen without them."""
    scene.become(scene.graceful())
    scene.settled(2)
    with scene.load(seconds=800, sign_in_every=0) as running:
        kill_each(scene)
        outcome = measured(rows, scene, KILLED_CONTROL, running.finish(after=5))
    assert outcome.failed > 0
    assert outcome.lost_connections() > 0, outcome.failures


def test_an_update_without_pre_stop_and_drain_fails_requests(scene: Scene, rows: list[Row]) -> None:
    scene.become(scene.graceful(rollout=ABRUPT))
    scene.settled(2)
    # New connections meet closed listeners; many of them, so that the control doesn't hang by a few.
    with scene.load(seconds=800, rate=80, new_share=1) as running:
        updates(2, rollout=ABRUPT)(scene)
        outcome = measured(rows, scene, ABRUPT_CONTROL, running.finish(after=5))
    assert outcome.failed > 0
    assert outcome.lost_connections() > 0, outcome.failures


@pytest.fixture
def never_scaled(cluster: Cluster, service_image: str, next_image: str, pytestconfig: pytest.Config) -> Iterator[Scene]:
    """A release whose number of pods nobody but Helm has set: a hand that scaled would hold it."""
    with scene_opened(cluster, service_image, next_image, line_writer(pytestconfig)) as opened:
        opened.become(opened.graceful())
        opened.settled(2)
        yield opened


def test_without_the_hand_over_switching_autoscaling_on_dips(never_scaled: Scene) -> None:
    with never_scaled.replicas_watched() as replicas:
        never_scaled.become(never_scaled.graceful(autoscaling={**AUTOSCALING, "handOver": False}))
        never_scaled.settled(2)
    assert min(replicas.wanted) == 1


def test_autoscaling_switched_on_and_reacting_fails_nothing(never_scaled: Scene, rows: list[Row]) -> None:
    scene = never_scaled
    with scene.load(seconds=800) as running, scene.replicas_watched() as replicas:
        scene.become(scene.graceful(autoscaling=AUTOSCALING))
        seen(lambda: scene.utilization() is not None, 60, "the autoscaler's first look")
        switched = measured(rows, scene, SWITCHED_ON, running.finish(after=15))
    assert min(replicas.wanted) == min(replicas.ready) == 2
    scene.settled(2)
    seen(scene.idle, 120, "idle pods")
    scene.become(scene.graceful(autoscaling=EAGER))
    with scene.replicas_watched() as replicas, scene.load(seconds=800, rate=60) as running:
        seen(lambda: replicas.wanted[-1] > 2, 60, "the autoscaler wanting more pods")
        scene.rollout_done()
        scaled = measured(rows, scene, SCALED_UP, running.finish(after=30))
    nothing_failed(switched)
    nothing_failed(scaled)
