"""Pods, Jobs and Deployments as the decision sees them, told from what the API server gave. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from slipway_operator.migrations.images import reference
from slipway_operator.migrations.model import GateSeen, JobSeen, PodSeen, Spec, WorkloadSeen
from slipway_operator.migrations.names import ATTEMPT, CONTAINERS, PLAN_KEY, PURPOSE_LABEL
from slipway_operator.migrations.pods import digest_of
from slipway_operator.migrations.trouble import container_statuses
from slipway_operator.nodes import lost
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


def pod(found: Mapping[str, Any], now: float) -> PodSeen | None:
    """None for a pod whose containers have all ended for good."""
    status = found.get("status") or {}
    if status.get("phase") in _ENDED:
        return None
    ids = {one.get("imageID") for one in status.get("containerStatuses") or ()}
    return PodSeen(
        found["metadata"]["name"],
        frozenset(one for one in ids if one),
        gate(found),
        frozenset(one["image"] for one in found["spec"]["containers"] if one.get("image")),
        lost(found, now),
        _mixed(found),
    )


def _mixed(found: Mapping[str, Any]) -> frozenset[str]:
    names = {one["name"]: reference(one.get("image", "")).repository for one in found["spec"]["containers"]}
    digests: dict[str, set[str]] = {}
    for one in (found.get("status") or {}).get("containerStatuses") or ():
        if one.get("imageID"):
            digests.setdefault(names.get(one["name"], ""), set()).add(digest_of(one["imageID"]))
    several = [each for repository, each in digests.items() if repository and len(each) > 1]
    return frozenset().union(*several)


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
    held_by: tuple[str, ...] = ()
    if state == "running" and pods and (held := _held(found, pods[-1])):
        state, ended, held_by = held
    return JobSeen(
        name=metadata["name"],
        purpose=purpose,
        plan_key=annotations[PLAN_KEY],
        attempt=int(attempt),
        state=state,
        created=seconds(metadata["creationTimestamp"]),
        ended=ended,
        image_id=_image_id(pods, container(found)),
        held_by=held_by,
    )


def container(found: Mapping[str, Any]) -> str:
    """Name of a Job's container."""
    return _own(found)[0]


def _own(found: Mapping[str, Any]) -> list[str]:
    """Names of the containers that were asked for: a webhook may add others to the Job, before it makes a pod.

    Of a Job of a release that didn't note them, all that it has.
    """
    noted = (found["metadata"].get("annotations") or {}).get(CONTAINERS)
    return noted.split(",") if noted else [str(one["name"]) for one in found["spec"]["template"]["spec"]["containers"]]


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


def _held(
    found: Mapping[str, Any], pod: Mapping[str, Any]
) -> tuple[Literal["succeeded", "failed"], float, tuple[str, ...]] | None:
    """How and when the containers that the Job asks for ended, and which others keep its pod from ending.

    Those were injected: a sidecar of the workload's own would be in the Job as well, and the kubelet ends it.
    """
    template = found["spec"]["template"]["spec"]
    own = set(_own(found))
    states = {one["name"]: one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()}
    others = tuple(sorted(name for name, state in states.items() if name not in own and "running" in state))
    ends = [end for name in own if (end := states.get(name, {}).get("terminated"))]
    if not others or len(ends) < len(own) or "deletionTimestamp" in pod["metadata"]:
        return None
    failed = any(end["exitCode"] != 0 for end in ends)
    if failed and template.get("restartPolicy") == "OnFailure":
        return None
    return "failed" if failed else "succeeded", max(seconds(end.get("finishedAt")) for end in ends), others


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
