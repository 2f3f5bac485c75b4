"""Pods, gates and Deployments, as a decision sees them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.model import GateSeen
from slipway_operator.migrations.sight import gate, pod, workload
from slipway_operator.migrations.spec import parse
from slipway_operator.times import seconds, timestamp
from unit.operator.migration_objects import NOW, consumer, deployment, resource

RUNNING, DONE = {"running": {"startedAt": timestamp(500)}}, {"terminated": {"exitCode": 0, "startedAt": timestamp(400)}}
CRASHED, WAITS = {"terminated": {"exitCode": 1, "startedAt": timestamp(300)}}, {"waiting": {"reason": "x"}}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], GateSeen("passed")),
        ([DONE], GateSeen("passed")),
        ([DONE, DONE], GateSeen("passed")),
        ([{}], GateSeen("waiting")),
        ([WAITS], GateSeen("waiting")),
        ([CRASHED], GateSeen("waiting")),
        ([RUNNING], GateSeen("running", 500.0)),
        ([RUNNING, WAITS], GateSeen("running", 500.0)),
        ([DONE, RUNNING], GateSeen("running", 400.0)),
        ([DONE, WAITS], GateSeen("running", 400.0)),
        ([DONE, CRASHED], GateSeen("running", 400.0)),
    ],
)
def test_a_gate_is_taken_for_as_far_as_it_may_be(states: list[dict[str, Any]], expected: GateSeen) -> None:
    assert gate(consumer("a", *((f"i{n}", state) for n, state in enumerate(states)))) == expected


def test_an_init_container_without_a_status_has_not_passed() -> None:
    found = consumer("a", ("gate", DONE))
    found["status"]["initContainerStatuses"] = []

    assert gate(found) == GateSeen("waiting")


def test_a_start_that_is_not_told_is_the_pods_creation() -> None:
    assert gate(consumer("a", ("gate", {"running": {}}))) == GateSeen("running", NOW - 100)


def test_native_sidecars_are_no_gate() -> None:
    assert gate(consumer("a", ("proxy", RUNNING), restartPolicy="Always")) == GateSeen("passed")


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_pods_of_every_other_phase_exist(phase: str) -> None:
    assert pod(consumer("a", phase=phase), NOW) is not None
    assert pod(consumer("a", phase="Failed"), NOW) is None


def test_terminating_pods_exist() -> None:
    going = consumer("a")
    going["metadata"]["deletionTimestamp"] = timestamp(NOW)

    assert pod(going, NOW) is not None


@pytest.mark.parametrize(
    ("change", "rolled_out"),
    [
        ({}, True),
        ({"observedGeneration": 3}, False),
        ({"updatedReplicas": 1}, False),
        ({"replicas": 3}, False),
        ({"availableReplicas": 1}, False),
    ],
)
def test_a_rollout_is_complete_when_every_replica_is_of_the_template_of_now(
    change: dict[str, int],
    rolled_out: bool,  # noqa: FBT001
) -> None:
    found = deployment()
    found["status"].update(change)

    assert workload(found, parse(resource())).rolled_out is rolled_out


def test_a_deployment_scaled_to_nothing_is_rolled_out() -> None:
    found = deployment()
    found["spec"]["replicas"], found["status"] = 0, {"observedGeneration": 4}

    seen = workload(found, parse(resource()))

    assert (seen.wanted, seen.rolled_out) == (0, True)


def test_a_deployment_without_the_container_has_no_image() -> None:
    assert workload(deployment(), parse(resource(workload={"name": "shop", "container": "web"}))).image is None


def test_times_of_the_cluster_are_told_in_seconds_and_back() -> None:
    assert seconds("2026-11-22T12:00:00Z") == 1795348800.0
    assert seconds(timestamp(1795348800.123456)) == 1795348800.123456
