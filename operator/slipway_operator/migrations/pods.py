"""Which pods a contract would break, told from one fresh list. When in doubt a pod counts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slipway_operator.migrations.model import PodSeen

LAG = 10.0
"""Seconds by which nodes' clocks may differ, and by which a kubelet's report on a pod may be late."""

_DIGEST = re.compile(r"(?:^|[@/])([a-z0-9]+:[0-9a-f]{32,})$")

NAMES = 5
"""How many pods a message names."""


def lives(pod: PodSeen, announced_at: float | None, now: float) -> bool:
    """Whether code of this pod runs, or may still get past its gate.

    Before the announcement any gate may open. After it, one that was running already may have read the ledger before,
    and one that is said to wait may have done so unreported; those that begin later refuse.
    """
    if pod.gate.state == "passed" or announced_at is None:
        return True
    if pod.gate.state == "running":
        # One that is yet to begin has a node whose clock is ahead: nothing tells when it did.
        return began_before(pod.gate.since, announced_at) or pod.gate.since > now
    return now < announced_at + LAG


def began_before(since: float, announced_at: float) -> bool:
    """Whether a gate may have begun before the announcement, whatever its node's clock says."""
    return since < announced_at + LAG


def has_image(pod: PodSeen, image_id: str) -> bool:
    """Names of images don't count: a tag may have moved. A pod whose ids aren't known yet hasn't got it."""
    if pod.mixed and digest_of(image_id) in pod.mixed:
        return False
    return image_id in pod.image_ids or digest_of(image_id) in map(digest_of, pod.image_ids)


def digest_of(image_id: str) -> str:
    """Of an id as a kubelet reports it: without the repository, which is any that the node knows the image by."""
    found = _DIGEST.search(image_id)
    return found[1] if found else image_id


def broken_by(image_id: str, pods: Iterable[PodSeen], announced_at: float | None, now: float) -> tuple[PodSeen, ...]:
    """The living pods that a contract of the image `image_id` would break, by name."""
    found = [pod for pod in pods if lives(pod, announced_at, now) and not has_image(pod, image_id)]
    return tuple(sorted(found, key=lambda pod: pod.name))


def listed(pods: tuple[PodSeen, ...]) -> str:
    """Their names for a message, cut after the fifth."""
    names = ", ".join(pod.name for pod in pods[:NAMES])
    return names if len(pods) <= NAMES else f"{names} and {len(pods) - NAMES} more"
