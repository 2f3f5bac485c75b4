"""What a real Prometheus answers to a dashboard."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard_lints import Dashboard, filled, queries
from servers.prometheus import Prometheus

STEP = 2.0
VARIABLES = {
    "namespace": "ships",
    "release": "slipway",
    "api": "slipway-metrics",
    "worker": "slipway-worker-metrics",
    "operator": "slipway-operator-metrics",
    "__rate_interval": "15s",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since the epoch."""

    begin: float
    end: float


def without_data(dashboard: Dashboard, prometheus: Prometheus, span: Span) -> set[str]:
    """Panels, annotations and variables whose query had no value in all that time."""
    return {where for where, query in queries(dashboard) if not _values(query, prometheus, span)}


def _values(query: str, prometheus: Prometheus, span: Span) -> int:
    asked = filled(query, VARIABLES)
    series = prometheus.ask("query_range", query=asked, start=span.begin, end=span.end, step=STEP)
    return sum(value != "NaN" for each in series for _, value in each["values"])
