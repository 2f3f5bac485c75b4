"""Pods of nodes that are lost: nobody says any more whether they run, so they count, and people are told the way out.

Told from the pod alone: the right to read nodes is the cluster's, and an operator may serve one namespace. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_operator.times import seconds, timestamp

LATE = 30.0
"""Seconds that a kubelet may take beyond the grace period to tell that a pod ended."""
PATIENCE = 600.0
"""Seconds after which only a person can help. A node that only restarted is back by then."""
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Lost:
    """A pod that its node tells nothing of. `since`: seconds since the epoch, by the API server's clock."""

    pod: str
    node: str
    since: float

    def lasting(self, now: float) -> bool:
        return now - self.since > PATIENCE


def lost(pod: Mapping[str, Any], now: float) -> Lost | None:
    """Whether a pod's node is away, as far as its pod shows it. None for one that has ended.

    The controller of nodes takes a pod's readiness away and leaves what the kubelet said of its containers. A pod that
    wasn't ready shows only later: once it should have been gone, and nobody said that it is.
    """
    status = pod.get("status") or {}
    if status.get("phase") in _ENDED:
        return None
    since = [found for found in (_unready_by_another(pod, status), _overdue(pod, now)) if found is not None]
    if not since:
        return None
    return Lost(pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName", ""), min(since))


def told(one: Lost) -> str:
    """For a message, with both ways out."""
    return (
        f"Nothing has been heard of pod {one.pod} on node {one.node} since {timestamp(int(one.since))}, so it may "
        f"still run. If that node is off for good: kubectl delete node {one.node}. If it is off, and is to come back: "
        f"kubectl taint nodes {one.node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    )


def _unready_by_another(pod: Mapping[str, Any], status: Mapping[str, Any]) -> float | None:
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    ready, containers = conditions.get("Ready") or {}, conditions.get("ContainersReady") or {}
    gates = (pod.get("spec") or {}).get("readinessGates")
    if gates or ready.get("status") != "False" or containers.get("status") != "True":
        return None
    return seconds(ready.get("lastTransitionTime"))


def _overdue(pod: Mapping[str, Any], now: float) -> float | None:
    """A pod's `deletionTimestamp` is when its grace ends."""
    going = pod["metadata"].get("deletionTimestamp")
    end = seconds(going) if going else now
    return end if now - end > LATE else None
