"""The one registry of metrics, the gauge that every dependency shares, and what exports of spans count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry(auto_describe=True)

DEGRADED = Gauge(
    "slipway_degraded",
    "1 while a dependency is away and the service works around it.",
    ("dependency",),
    registry=REGISTRY,
)

EXPORT_FAILURES = Counter(
    "slipway_trace_export_failures_total",
    "Batches of spans that the collector didn't take.",
    registry=REGISTRY,
)
