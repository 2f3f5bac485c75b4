"""Pods, Jobs and Deployments as the decision sees them, told from what the API server gave. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from slipway_operator.migrations.model import GateSeen, JobSeen, PodSeen, Spec, WorkloadSeen
from slipway_operator.migrations.names import ATTEMPT, PLAN_KEY, PURPOSE_LABEL
from slipway_operator.migrations.trouble import container_statuses
from slipway_operator.times import seconds

_PURPOSES = ("plan", "withdraw", "expand", "backup", "announce", "contract")
_ENDED = ("Succeeded", "Failed")


def workload(deployment: Mapping[str, Any], spec: Spec) -> WorkloadSeen:
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    containers = deployment["spec"]["template"]["spec"]["containers"]
    image = next((one.get("image") for one in containers if one["name"] == spec.container), None)
    rolled_out = (
        status.get("observedGeneration", 0) >= metadata["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) >= wanted
    )
    return WorkloadSeen(wanted, image, rolled_out)


def pod(found: Mapping[str, Any]) -> PodSeen | None:
    """None for a pod whose containers have all ended for good."""
    status = found.get("status") or {}
    if status.get("phase") in _ENDED:
        return None
    ids = {one.get("imageID") for one in status.get("containerStatuses") or ()}
    return PodSeen(found["metadata"]["name"], frozenset(one for one in ids if one), gate(found))


def gate(found: Mapping[str, Any]) -> GateSeen:
    """Which init container is the gate isn't known, so a pod is taken for as far as any reading of it allows.

    All ended well: passed. Else the earliest start of those that run or ended well is when the gate may have looked.
    """
    names = [one["name"] for one in found["spec"].get("initContainers") or () if one.get("restartPolicy") != "Always"]
    statuses = {one["name"]: one for one in (found.get("status") or {}).get("initContainerStatuses") or ()}
    states = [(statuses.get(name) or {}).get("state") or {} for name in names]
    if all(_ended_well(state) for state in states):
        return GateSeen("passed")
    created = seconds(found["metadata"].get("creationTimestamp"))
    begun = [
        seconds(state["running" if "running" in state else "terminated"].get("startedAt"), created)
        for state in states
        if "running" in state or _ended_well(state)
    ]
    return GateSeen("running", min(begun)) if begun else GateSeen("waiting")


def _ended_well(state: Mapping[str, Any]) -> bool:
    end: Mapping[str, Any] = state.get("terminated") or {}
    return bool(end) and end["exitCode"] == 0


def job(found: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> JobSeen | None:
    """Without what its log tells. None for a Job that lacks our marks."""
    metadata = found["metadata"]
    annotations = metadata.get("annotations") or {}
    purpose = (metadata.get("labels") or {}).get(PURPOSE_LABEL)
    attempt = annotations.get(ATTEMPT, "")
    if purpose not in _PURPOSES or PLAN_KEY not in annotations or not attempt.isdecimal():
        return None
    state, ended = _state(found, pods)
    return JobSeen(
        name=metadata["name"],
        purpose=purpose,
        plan_key=annotations[PLAN_KEY],
        attempt=int(attempt),
        state=state,
        created=seconds(metadata["creationTimestamp"]),
        ended=ended,
        image_id=_image_id(pods, container(found)),
    )


def container(found: Mapping[str, Any]) -> str:
    """Name of a Job's container."""
    return str(found["spec"]["template"]["spec"]["containers"][0]["name"])


def _state(
    found: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
) -> tuple[Literal["starting", "running", "succeeded", "failed"], float | None]:
    status = found.get("status") or {}
    for condition in status.get("conditions") or ():
        # SuccessCriteriaMet and FailureTarget come earlier, while pods may still run.
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            ended = seconds(status.get("completionTime") or condition.get("lastTransitionTime"))
            return ("succeeded" if condition["type"] == "Complete" else "failed"), ended
    counted = any(status.get(name) for name in ("ready", "succeeded", "failed", "terminating"))
    ran = any(_has_run(one) for one in pods)
    return ("running" if counted or ran or _uncounted(status) else "starting"), None


def _uncounted(status: Mapping[str, Any]) -> bool:
    return any((status.get("uncountedTerminatedPods") or {}).values())


def _has_run(found: Mapping[str, Any]) -> bool:
    states = [{**(one.get("lastState") or {}), **(one.get("state") or {})} for one in container_statuses(found)]
    return any("running" in state or "terminated" in state for state in states) or (
        (found.get("status") or {}).get("phase") in ("Running", *_ENDED)
    )


def _image_id(pods: Sequence[Mapping[str, Any]], name: str) -> str | None:
    for found in reversed(pods):
        for one in (found.get("status") or {}).get("containerStatuses") or ():
            if one["name"] == name and one.get("imageID"):
                return str(one["imageID"])
    return None
