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
    Api,
    ForbiddenError,
)
from slipway_operator.evidence.references import has_ended, is_ours, refers, runs, template, wanted
from slipway_operator.specs import selects

WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS, CRON_JOBS, JOBS)


@dataclass(frozen=True, slots=True)
class Found:
    """`pods`: those that run, as the API server lists them. The rest as of `Consumers`."""

    pods: tuple[Mapping[str, Any], ...] = ()
    refers: bool = False
    wanted: int = 0
    unlisted: str = ""


async def find(api: Api, namespace: str, secret: str, selector: str) -> Found:
    """A fresh look. `selector` widens it; empty: it adds nothing. Raises ApiError when the pods can't be listed."""
    listed = [pod for pod in await api.list(PODS, namespace) if not has_ended(pod)]
    referring = [pod for pod in listed if _uses(pod, secret)]
    at_work = [pod for pod in referring if runs(pod)]
    others = [pod for pod in listed if pod not in referring and selector and selects(selector, _labels(pod))]
    pods = (*at_work, *(pod for pod in others if runs(pod)))
    if referring:
        return Found(pods, refers=True, wanted=0 if at_work else len(referring))
    # Only where no pod refers to it does it matter what would make one.
    return await _by_workloads(api, namespace, secret, pods)


async def _by_workloads(api: Api, namespace: str, secret: str, pods: tuple[Mapping[str, Any], ...]) -> Found:
    """One that wants pods settles it; that none is wanted is known once all were listed."""
    seen = False
    for resource in WORKLOADS:
        try:
            listed = await api.list(resource, namespace)
        except ForbiddenError as error:
            return Found(pods, unlisted=str(error))
        using = [one for one in listed if refers(template(resource.plural, one) or {}, secret)]
        missing = sum(wanted(resource.plural, one) for one in using)
        if missing:
            return Found(pods, refers=True, wanted=missing)
        seen = seen or bool(using)
    return Found(pods, refers=seen)


def _uses(pod: Mapping[str, Any], secret: str) -> bool:
    return refers(pod.get("spec") or {}, secret) and not is_ours(_labels(pod))


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return found
