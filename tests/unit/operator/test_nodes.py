"""Pods of lost nodes, as a pod itself shows it, and what people are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.sight import pod as seen_pod
from slipway_operator.migrations.trouble import of_end
from slipway_operator.nodes import LATE, PATIENCE, Lost, lost, told
from slipway_operator.times import timestamp
from unit.operator.migration_objects import NOW, consumer
from unit.operator.test_migration_decide import ANNOUNCED, EXPANDED, NEW, OLD, look
from unit.operator.test_migration_decide import NOW as DECIDED

SINCE = NOW - 100


def pod(ready: str = "True", containers: str = "True", **spec: Any) -> dict[str, Any]:
    found = consumer("a")
    found["spec"] |= {"nodeName": "n1", **spec}
    found["status"]["conditions"] = [
        {"type": "Ready", "status": ready, "lastTransitionTime": timestamp(SINCE)},
        {"type": "ContainersReady", "status": containers, "lastTransitionTime": timestamp(SINCE - 5)},
    ]
    return found


def test_readiness_that_was_taken_from_a_pod_whose_kubelet_says_nothing_tells_of_a_lost_node() -> None:
    assert lost(pod(ready="False"), NOW) == Lost("a", "n1", SINCE)


@pytest.mark.parametrize(
    "found",
    [
        pod(),
        pod(ready="False", containers="False"),
        pod(ready="False", readinessGates=[{"conditionType": "example.com/ready"}]),
        consumer("a"),
        {"metadata": {"name": "a"}},
    ],
)
def test_other_pods_that_are_not_ready_have_their_node(found: dict[str, Any]) -> None:
    assert lost(found, NOW) is None


@pytest.mark.parametrize(("ago", "is_lost"), [(-30.0, False), (LATE, False), (LATE + 1, True)])
def test_a_pod_that_should_have_gone_long_ago_tells_of_a_lost_node(ago: float, *, is_lost: bool) -> None:
    going = pod(ready="False", containers="False")
    going["metadata"]["deletionTimestamp"] = timestamp(NOW - ago)

    assert lost(going, NOW) == (Lost("a", "n1", NOW - ago) if is_lost else None)


def test_a_pod_that_has_ended_needs_no_node() -> None:
    ended = pod(ready="False")
    ended["status"]["phase"] = "Succeeded"

    assert lost(ended, NOW) is None


def test_people_are_told_pod_node_since_when_and_both_ways_out() -> None:
    text = told(Lost("a", "n1", NOW))

    assert "pod a on node n1 since 2026-" in text
    assert "kubectl delete node n1" in text
    assert "kubectl taint nodes n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute" in text


@pytest.mark.parametrize(("ago", "state"), [(PATIENCE, "Reconciling"), (PATIENCE + 1, "Stalled")])
def test_a_contract_waits_for_a_pod_of_a_lost_node_and_is_stalled_after_ten_minutes(ago: float, state: str) -> None:
    away = replace(OLD, lost=Lost("old", "n1", DECIDED - ago))

    decision = decide(look(EXPANDED, pods=(*NEW, away)), DECIDED)

    assert (decision.verdict.state, decision.verdict.reason, decision.effect) == (state, "NodeLost", None)
    assert "kubectl delete node n1" in decision.verdict.message


def test_a_lost_pod_of_the_image_that_was_planned_is_in_nobodys_way() -> None:
    away = replace(NEW[0], lost=Lost("new-0", "n1", DECIDED - 100))

    decision = decide(look(ANNOUNCED, pods=(away, NEW[1])), DECIDED)

    assert decision.verdict.reason == "Contracting"


def test_a_look_at_a_pod_tells_that_its_node_is_lost() -> None:
    seen = seen_pod(pod(ready="False"), NOW)

    assert seen is not None
    assert seen.lost == Lost("a", "n1", SINCE)


@pytest.mark.parametrize(("now", "lasting"), [(NOW, False), (NOW + PATIENCE, True)])
def test_a_job_on_a_lost_node_is_told_and_lasts_after_ten_minutes(now: float, *, lasting: bool) -> None:
    found = of_end([pod(ready="False")], now)

    assert found is not None
    assert (found.reason, found.lasting) == ("NodeLost", lasting)
    assert "so no other may start" in found.message
    assert "node n1" in found.message


def test_a_jobs_pod_that_was_just_told_to_go_is_no_lost_one() -> None:
    going = pod(ready="False", containers="False")
    going["metadata"]["deletionTimestamp"] = timestamp(NOW + 20)

    found = of_end([going], NOW)

    assert found is not None
    assert (found.reason, found.lasting) == ("PodTerminating", False)
