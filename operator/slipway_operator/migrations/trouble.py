"""Why a Job doesn't start, or has failed, told from what the cluster shows of it. Pure.

Messages come from the API server, the kubelet, or a command's marked line; values of an environment are in none.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway_operator.conditions import one_line
from slipway_operator.migrations.model import Trouble
from slipway_operator.migrations.report import MESSAGE_LIMIT, failure
from slipway_operator.nodes import lost, told

_POD_NAME = re.compile(r'pods "[^"]*"')
_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CONTAINER_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_START_FAILED = frozenset({"StartError", "ContainerCannotRun"})
_STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing"})
_ENDED = ("Succeeded", "Failed")
_MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume")


def of_start(pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    """What keeps a Job from starting. `events`: those about the Job and its pods."""
    if not pods:
        refused = _newest(events, ("FailedCreate",))
        return _refused(refused) if refused else None
    for pod in pods:
        found = _scheduling(pod) or _waiting(pod)
        if found:
            return found
    mount = _newest(events, _MOUNT_EVENTS)
    return _told("VolumeNotReady", f"A volume of the Job's pod can't be mounted: {mount}") if mount else None


def of_end(pods: Sequence[Mapping[str, Any]], now: float) -> Trouble | None:
    """What keeps a Job that has begun from ending: its node is lost, or its pod was told to go and hasn't gone yet."""
    for pod in pods:
        if away := lost(pod, now):
            text = f"The Job's pod isn't known to have ended, so no other may start. {told(away)}"
            return replace(_told("NodeLost", text), lasting=away.lasting(now))
        if "deletionTimestamp" in pod["metadata"] and (pod.get("status") or {}).get("phase") not in _ENDED:
            node = (pod.get("spec") or {}).get("nodeName", "")
            text = f"The Job's pod is to go, and node {node} hasn't said yet that it ended, so no other may start"
            return _told("PodTerminating", text)
    return None


def of_failure(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], log: str) -> Trouble:
    """Why a Job failed. `log`: the end of its container's; what the command itself says comes first."""
    said = failure(log)
    if said:
        return said
    for pod in reversed(pods):
        found = _pod_failure(pod)
        if found:
            return found
    return _job_failure(job)


def _refused(message: str) -> Trouble:
    """A quota may have room again; a policy stays until a person changes it or the workload."""
    # The name is another at each of the Job controller's tries.
    message = _POD_NAME.sub("pods", message)
    told = _told("AdmissionRefused", f"The cluster refuses the Job's pod: {message}")
    return replace(told, lasting="violates PodSecurity" in message)


def _pod_failure(pod: Mapping[str, Any]) -> Trouble | None:
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":
        return _told("Evicted", f"The Job's pod was evicted: {status.get('message', '')}")
    ended = [(one["name"], end) for one, end in _ended(pod) if end.get("exitCode") != 0]
    told = [found for name, end in ended if (found := failure(end.get("message") or "") or _by_reason(name, end))]
    if told:
        return told[0]
    if _disrupted(pod):
        return Trouble("Disrupted", "The Job's pod was removed before it ended, such as by a drain of its node.")
    if not ended:
        return None
    name, end = ended[0]
    return Trouble("CommandFailed", f"Container {name} {_how(end.get('exitCode', 0))}; its log says more.")


def _how(code: int) -> str:
    """As a shell tells signals: 128 and its number."""
    try:
        return f"was ended by {signal.Signals(code - 128).name} (exit code {code})"
    except ValueError:
        return f"ended with exit code {code}"


def _by_reason(name: str, end: Mapping[str, Any]) -> Trouble | None:
    if end.get("reason") == "OOMKilled":
        text = f"Container {name} needed more memory than its limit; raise the limit of the workload's container."
        return Trouble("OutOfMemory", text)
    if end.get("reason") in _START_FAILED:
        return _told("ContainerNotStarted", f"Container {name} can't start: {end.get('message', '')}")
    return None


def _job_failure(job: Mapping[str, Any]) -> Trouble:
    condition = next((one for one in _conditions(job) if one["type"] == "Failed"), {})
    if condition.get("reason") == "DeadlineExceeded":
        return Trouble("DeadlineExceeded", "The Job ran longer than its activeDeadlineSeconds.")
    text = condition.get("message") or "its pod is gone and said nothing"
    return _told("JobFailed", f"The Job failed: {text}")


def _scheduling(pod: Mapping[str, Any]) -> Trouble | None:
    for condition in _conditions(pod):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _told("Unschedulable", f"No node takes the Job's pod: {condition.get('message', '')}")
    return None


def _waiting(pod: Mapping[str, Any]) -> Trouble | None:
    for status in container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _IMAGE_REASONS:
            return _told("ImagePullFailed", f"Image {status.get('image', '')} can't be pulled: {message or reason}")
        if reason in _CONTAINER_REASONS:
            return _told("ContainerNotStarted", f"Container {status['name']} can't start: {message or reason}")
        if reason and reason not in _STARTING_REASONS:
            return _told("ContainerNotStarted", f"Container {status['name']} waits: {reason} {message}")
    return None


def _newest(events: Sequence[Mapping[str, Any]], reasons: Iterable[str]) -> str | None:
    """Its message."""
    wanted = set(reasons)
    found = [event for event in events if event.get("reason") in wanted]
    newest = max(found, key=_time_of, default=None)
    return str(newest.get("message") or newest["reason"]) if newest else None


def _time_of(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _disrupted(pod: Mapping[str, Any]) -> bool:
    target = any(one["type"] == "DisruptionTarget" and one["status"] == "True" for one in _conditions(pod))
    return target or "deletionTimestamp" in pod["metadata"]


def _ended(pod: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for status in container_statuses(pod):
        end = (status.get("state") or {}).get("terminated")
        if end:
            yield status, end


def container_statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of all its containers, the main ones first."""
    status = pod.get("status") or {}
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def _conditions(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (resource.get("status") or {}).get("conditions") or []


def _told(reason: str, message: str) -> Trouble:
    text = one_line(message, MESSAGE_LIMIT)
    return Trouble(reason, text if text.endswith((".", "…")) else f"{text}.")
