from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.trouble import of_failure, of_start
from unit.operator.migration_objects import marked


def pod(conditions: list[dict[str, Any]] | None = None, **state: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Pending", "conditions": conditions or []}
    if state:
        status["containerStatuses"] = [{"name": "api", "image": "shop:2", "state": state}]
    return {"metadata": {"name": "p", "uid": "u"}, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod(waiting={"reason": reason, "message": message})


def ended(**terminated: Any) -> dict[str, Any]:
    return pod(terminated={"exitCode": 1, **terminated})


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes: too few cpu",
}


@pytest.mark.parametrize(
    ("one", "reason", "part"),
    [
        (pod([UNSCHEDULABLE]), "Unschedulable", "0/1 nodes: too few cpu"),
        (waiting("ErrImagePull", "no such tag"), "ImagePullFailed", "shop:2 can't be pulled: no such tag"),
        (waiting("ImagePullBackOff"), "ImagePullFailed", "ImagePullBackOff"),
        (waiting("InvalidImageName"), "ImagePullFailed", "InvalidImageName"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "ContainerNotStarted", 'secret "x" not found'),
        (waiting("RunContainerError", "exec: no such file"), "ContainerNotStarted", "exec: no such file"),
        (waiting("CrashLoopBackOff", "back-off"), "ContainerNotStarted", "CrashLoopBackOff back-off"),
    ],
)
def test_what_keeps_a_pod_from_starting_is_told(one: dict[str, Any], reason: str, part: str) -> None:
    found = of_start([one], ())

    assert found is not None
    assert (found.reason, found.lasting) == (reason, False)
    assert part in found.message


@pytest.mark.parametrize("one", [pod(), waiting("ContainerCreating"), waiting("PodInitializing"), pod(running={})])
def test_a_pod_that_is_about_to_start_is_in_no_trouble(one: dict[str, Any]) -> None:
    assert of_start([one], ()) is None


def event(reason: str, message: str, at: str = "2026-11-22T12:00:00Z") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at}


def test_a_volume_that_cannot_be_mounted_names_what_lacks() -> None:
    lacks = event("FailedMount", 'MountVolume.SetUp failed for volume "o" : secret "shop-owner" not found')

    found = of_start([waiting("ContainerCreating")], [lacks, event("Scheduled", "assigned")])

    assert found is not None
    assert found.reason == "VolumeNotReady"
    assert 'secret "shop-owner" not found' in found.message


def test_a_job_without_a_pod_tells_why_admission_refuses_it() -> None:
    policy = event("FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot')
    quota = event("FailedCreate", "exceeded quota: pods", "2026-11-22T12:00:01Z")

    lasting, passing = of_start([], [policy]), of_start([], [policy, quota])

    assert lasting is not None
    assert (lasting.reason, lasting.lasting) == ("AdmissionRefused", True)
    assert "pods is forbidden: violates PodSecurity" in lasting.message
    assert passing is not None
    assert (passing.reason, passing.lasting) == ("AdmissionRefused", False)


def test_a_job_without_a_pod_and_without_a_refusal_only_takes_its_time() -> None:
    assert of_start([], [event("SuccessfulCreate", "Created pod")]) is None


FAILED = marked({"type": "failed", "reason": "StatementFailed", "message": "0003: no such column", "lasting": False})
JOB: dict[str, Any] = {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "backoff limit"}]}}
EVICTED = {"metadata": {}, "status": {"reason": "Evicted", "message": "The node was low on memory."}}
DRAINED = pod([{"type": "DisruptionTarget", "status": "True"}], terminated={"exitCode": 143})


@pytest.mark.parametrize(
    ("one", "reason", "part"),
    [
        (ended(message=f"x\n{FAILED}\n"), "StatementFailed", "no such column"),
        (ended(exitCode=137, reason="OOMKilled"), "OutOfMemory", "raise the limit"),
        (
            ended(exitCode=128, reason="StartError", message='exec: "x": not found'),
            "ContainerNotStarted",
            '"x": not found',
        ),
        (ended(exitCode=2, reason="Error"), "CommandFailed", "ended with exit code 2;"),
        (ended(exitCode=139, reason="Error"), "CommandFailed", "was ended by SIGSEGV (exit code 139);"),
        (ended(exitCode=137, reason="Error"), "CommandFailed", "was ended by SIGKILL (exit code 137);"),
        (ended(exitCode=255, reason="Error"), "CommandFailed", "ended with exit code 255;"),
        (ended(exitCode=128, reason="Error"), "CommandFailed", "ended with exit code 128;"),
        (EVICTED, "Evicted", "low on memory"),
        (DRAINED, "Disrupted", "drain"),
        (pod(terminated={"exitCode": 0}), "JobFailed", "backoff limit"),
    ],
)
def test_why_a_job_failed_is_told_by_its_pod(one: dict[str, Any], reason: str, part: str) -> None:
    found = of_failure(JOB, [one], "")

    assert found.reason == reason
    assert part in found.message


def test_what_the_command_says_itself_comes_first() -> None:
    assert of_failure(JOB, [ended(exitCode=137, reason="OOMKilled")], FAILED).reason == "StatementFailed"


def test_a_job_without_a_pod_tells_what_its_condition_says() -> None:
    late = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}

    assert of_failure(JOB, [], "").message == "The Job failed: backoff limit."
    assert of_failure(late, [], "").reason == "DeadlineExceeded"


def test_a_lasting_failure_stays_one() -> None:
    lasting = FAILED.replace('"lasting":false', '"lasting":true')

    assert of_failure(JOB, [ended(message=lasting)], "").lasting is True
