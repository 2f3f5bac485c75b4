"""What Prometheus is told of each resource as it was last seen; one that is gone is told of no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway_operator.times import seconds

_NAMED = ("kind", "namespace", "name")
_MIGRATION = ("namespace", "name")

Named = tuple[str, str, str]
"""Kind, namespace and name of a resource."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Times are seconds since the epoch. `reason`: of Ready. `since`: a migration's Jobs; None while none is to run."""

    reason: str = ""
    rotated: float | None = None
    due: float | None = None
    since: float | None = None
    budget: float | None = None


class ResourceMetrics(Collector):
    """`clock` gives seconds since the epoch; a migration's time goes on between two looks at it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: dict[Named, Seen] = {}

    def saw(self, named: Named, reason: str, status: Mapping[str, Any]) -> None:
        """Take in what a status is about to say. Raises ValueError for a time that is none."""
        since = status.get("signingSince") or status.get("roleSince")
        self._seen[named] = replace(
            self._seen.get(named, Seen()),
            reason=reason,
            rotated=seconds(since) if since else None,
            due=seconds(status["nextRotation"]) if status.get("nextRotation") else None,
        )

    def saw_migration(self, named: Named, since: float | None, budget: float) -> None:
        """`budget` in seconds."""
        self._seen[named] = replace(self._seen.get(named, Seen()), since=since, budget=budget)

    def forget(self, named: Named) -> None:
        self._seen.pop(named, None)

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "slipway_operator_resource_info", "1 for the reason of a resource's Ready.", labels=(*_NAMED, "reason")
        )
        rotated = GaugeMetricFamily(
            "slipway_operator_rotation_last_timestamp_seconds", "Since when key or role are in use.", labels=_NAMED
        )
        due = GaugeMetricFamily(
            "slipway_operator_rotation_due_timestamp_seconds", "When they are to be rotated next.", labels=_NAMED
        )
        running = GaugeMetricFamily(
            "slipway_operator_migration_running_seconds",
            "Time since the first Job of the step that is being taken was made; 0 while none is.",
            labels=_MIGRATION,
        )
        budget = GaugeMetricFamily(
            "slipway_operator_migration_budget_seconds", "How long a run of it may take.", labels=_MIGRATION
        )
        for named, seen in list(self._seen.items()):
            if seen.reason:
                info.add_metric((*named, seen.reason), 1)
            if seen.rotated is not None:
                rotated.add_metric(named, seen.rotated)
            if seen.due is not None:
                due.add_metric(named, seen.due)
            if seen.budget is not None:
                budget.add_metric(named[1:], seen.budget)
                running.add_metric(named[1:], 0.0 if seen.since is None else max(0.0, self._clock() - seen.since))
        yield from (info, rotated, due, running, budget)
