"""The one registry of metrics, and the gauge that every dependency shares."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

REGISTRY = CollectorRegistry(auto_describe=True)

DEGRADED = Gauge(
    "slipway_degraded",
    "1 while a dependency is away and the service works around it.",
    ("dependency",),
    registry=REGISTRY,
)
