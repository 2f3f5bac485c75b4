"""Finds who uses a Secret: by reference, and by the selector that a spec adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_operator.cluster import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    ForbiddenError,
)
from slipway_operator.evidence.lists import Lists
from slipway_operator.evidence.references import runs, wanted
from slipway_operator.specs import selects

WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS, CRON_JOBS, JOBS)


@dataclass(frozen=True, slots=True)
class Found:
    """`pods`: those that run, as the API server lists them. The rest as of `Consumers`."""

    pods: tuple[Mapping[str, Any], ...] = ()
    refers: bool = False
    wanted: int = 0
    unlisted: str = ""


async def find(lists: Lists, namespace: str, secret: str, selector: str) -> Found:
    """A fresh look. `selector` widens it; empty: it adds nothing. Raises ApiError when the pods can't be listed."""
    listed = await lists.fresh(PODS, namespace)
    referring = listed.using.get(secret, ())
    at_work = [pod for pod in referring if runs(pod)]
    names = {pod["metadata"]["name"] for pod in referring}
    others = [pod for pod in listed.all if selector and selects(selector, pod["metadata"].get("labels") or {})]
    pods = (*at_work, *(pod for pod in others if pod["metadata"]["name"] not in names and runs(pod)))
    if referring:
        return Found(pods, refers=True, wanted=0 if at_work else len(referring))
    # Only where no pod refers to it does it matter what would make one.
    return await _by_workloads(lists, namespace, secret, pods)


async def _by_workloads(lists: Lists, namespace: str, secret: str, pods: tuple[Mapping[str, Any], ...]) -> Found:
    """One that wants pods settles it; that none is wanted is known once all were listed."""
    seen = False
    for resource in WORKLOADS:
        try:
            using = (await lists.fresh(resource, namespace)).using.get(secret, ())
        except ForbiddenError as error:
            return Found(pods, unlisted=str(error))
        missing = sum(wanted(resource.plural, one) for one in using)
        if missing:
            return Found(pods, refers=True, wanted=missing)
        seen = seen or bool(using)
    return Found(pods, refers=seen)
