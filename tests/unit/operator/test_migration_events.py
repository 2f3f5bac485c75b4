"""Which of several events and containers tells why a Job doesn't start, and how far a Deployment has come."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.jobs import migration_job
from slipway_operator.migrations.model import Memory
from slipway_operator.migrations.sight import container, job, workload
from slipway_operator.migrations.spec import parse
from slipway_operator.migrations.trouble import of_end, of_failure, of_start
from slipway_operator.times import seconds, timestamp
from unit.operator.migration_objects import NOW, deployment, resource


def mount(message: str, **at: Any) -> dict[str, Any]:
    return {"reason": "FailedMount", "message": message, **at}


def starting(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "uid": "u"}, "status": status}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"lastTimestamp": "2026-11-22T12:00:00Z"}, {"lastTimestamp": "2026-11-22T12:00:01Z"}),
        (
            {"eventTime": "2026-11-22T12:00:00Z"},
            {"lastTimestamp": "2026-11-22T12:00:01Z", "eventTime": "2026-11-01T00:00:00Z"},
        ),
        ({}, {"eventTime": "2026-11-22T12:00:01Z"}),
        (
            {"lastTimestamp": "2026-11-22T12:00:09Z"},
            {"series": {"lastObservedTime": "2026-11-22T12:00:10Z"}, "lastTimestamp": "2026-11-01T00:00:00Z"},
        ),
    ],
)
def test_the_newest_event_tells(older: dict[str, Any], newer: dict[str, Any]) -> None:
    for events in ([mount("old", **older), mount("new", **newer)], [mount("new", **newer), mount("old", **older)]):
        found = of_start([starting()], events)
        assert found is not None
        assert (found.reason, found.lasting) == ("VolumeNotReady", False)
        assert found.message == "A volume of the Job's pod can't be mounted: new."


def test_an_event_without_a_message_is_told_by_its_reason_and_others_not_at_all() -> None:
    attach = {"reason": "FailedAttachVolume"}
    found = of_start([starting()], [attach])
    assert found is not None
    assert found.message.endswith("can't be mounted: FailedAttachVolume.")
    assert of_start([starting()], [{"reason": "Pulled", "message": "x"}]) is None
    assert of_start([], [mount("x")]) is None


def test_a_pod_that_is_scheduled_is_in_no_trouble_by_that() -> None:
    placed = {"type": "PodScheduled", "status": "True", "message": "x"}
    assert of_start([starting(conditions=[placed])], ()) is None
    assert of_start([starting(conditions=[{"type": "Ready", "status": "False"}])], ()) is None


def test_an_init_container_that_waits_is_told_after_the_main_ones() -> None:
    waits = {"state": {"waiting": {"reason": "CreateContainerError", "message": "no"}}}
    init = starting(initContainerStatuses=[{"name": "proxy", **waits}])
    found = of_start([init], ())
    assert found is not None
    assert found.message == "Container proxy can't start: no."
    both = starting(initContainerStatuses=[{"name": "proxy", **waits}], containerStatuses=[{"name": "api", **waits}])
    found = of_start([both], ())
    assert found is not None
    assert found.message == "Container api can't start: no."


@pytest.mark.parametrize(
    ("phase", "told"), [("Running", True), ("Pending", True), ("Succeeded", False), ("Failed", False)]
)
def test_a_pod_that_was_told_to_go_is_waited_for_until_it_says_that_it_ended(phase: str, *, told: bool) -> None:
    going = {
        "metadata": {"name": "p", "deletionTimestamp": timestamp(NOW)},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase},
    }
    found = of_end([going], NOW)
    assert (found.reason if found else None) == ("PodTerminating" if told else None)
    assert found is None or "node n1 hasn't said yet" in found.message
    assert of_end([{"metadata": {"name": "p"}, "status": {"phase": phase}}], NOW) is None


def test_of_several_pods_the_newest_that_tells_something_tells_why_a_job_failed() -> None:
    def ended(code: int) -> dict[str, Any]:
        state = {"terminated": {"exitCode": code, "reason": "Error"}}
        return starting(containerStatuses=[{"name": "api", "state": state}])

    assert "exit code 3" in of_failure({}, [ended(2), ended(3)], "").message
    assert "exit code 2" in of_failure({}, [ended(2), ended(0)], "").message
    assert of_failure({}, [], "").message == "The Job failed: its pod is gone and said nothing."


@pytest.mark.parametrize(
    ("status", "spec", "rolled_out"),
    [
        ({"availableReplicas": 3}, {}, True),
        ({"observedGeneration": 5}, {}, True),
        ({"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}, {"replicas": 1}, True),
        ({"updatedReplicas": 3, "replicas": 3}, {}, False),
    ],
)
def test_a_rollout_may_have_come_further_than_it_has_to(
    status: dict[str, int], spec: dict[str, int], *, rolled_out: bool
) -> None:
    found = deployment()
    found["status"] |= status
    found["spec"] |= spec
    assert workload(found, parse(resource())).rolled_out is rolled_out


def test_a_deployment_that_names_no_number_of_replicas_wants_one() -> None:
    found = deployment()
    del found["spec"]["replicas"]
    found["status"] = {"observedGeneration": 4, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}
    seen = workload(found, parse(resource()))
    assert (seen.wanted, seen.rolled_out) == (1, True)


def marked(**changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "j",
        "creationTimestamp": timestamp(NOW),
        "labels": {"slipway.dev/purpose": "plan"},
        "annotations": {"slipway.dev/plan-key": "k.1", "slipway.dev/attempt": "2"},
    }
    containers = [{"name": "api"}, {"name": "other"}]
    return {"metadata": metadata | changes, "spec": {"template": {"spec": {"containers": containers}}}, "status": {}}


def test_a_job_is_ours_by_purpose_plan_key_and_number() -> None:
    seen = job(marked(), ())
    assert seen is not None
    assert (seen.purpose, seen.plan_key, seen.attempt, seen.state, seen.created) == ("plan", "k.1", 2, "starting", NOW)
    for lacks in (
        {"labels": {"slipway.dev/purpose": "other"}},
        {"labels": None},
        {"annotations": {"slipway.dev/attempt": "2"}},
        {"annotations": {"slipway.dev/plan-key": "k.1", "slipway.dev/attempt": "two"}},
        {"annotations": {"slipway.dev/plan-key": "k.1"}},
        {"annotations": None},
    ):
        assert job(marked(**lacks), ()) is None


def test_the_container_that_was_asked_for_first_tells() -> None:
    assert container(marked()) == "api"
    noted = {**marked()["metadata"]["annotations"], "slipway.dev/containers": "other,api"}
    assert container(marked(annotations=noted)) == "other"


def test_an_end_is_told_by_the_job_and_else_by_its_condition() -> None:
    ended = marked()
    ended["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": timestamp(NOW + 5)}]}
    seen = job(ended, ())
    assert seen is not None
    assert (seen.state, seen.ended) == ("failed", NOW + 5)
    ended["status"]["completionTime"] = timestamp(NOW + 4)
    seen = job(ended, ())
    assert seen is not None
    assert seen.ended == NOW + 4
    ended["status"]["conditions"][0]["status"] = "False"
    seen = job(ended, ())
    assert seen is not None
    assert (seen.state, seen.ended) == ("starting", None)


def test_a_time_that_is_not_told_is_the_beginning_or_what_is_said_instead() -> None:
    assert (seconds(None), seconds(None, 7.0), seconds("")) == (0.0, 7.0, 0.0)


def test_a_script_is_readable_by_whoever_runs_it() -> None:
    wish = resource(config="/app/alembic.ini")
    made = migration_job(wish, parse(wish), Memory(plan_key="k.1"), "plan", 0, deployment())
    (mounted,) = [one for one in made["spec"]["template"]["spec"]["volumes"] if "configMap" in one]
    assert mounted["configMap"]["defaultMode"] == 0o444
