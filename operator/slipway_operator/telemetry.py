"""The operator's metrics; docs/observability.md tells what each is for."""

from __future__ import annotations

import time
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from slipway_operator.memory import MemoryLimit
from slipway_operator.resource_metrics import ResourceMetrics

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
REGISTRY.register(MemoryLimit())
RESOURCES = ResourceMetrics()
REGISTRY.register(RESOURCES)

RECONCILES = Counter(
    "slipway_operator_reconciles", "Looks at a resource, by result: succeeded or failed", ["kind", "result"],
    registry=REGISTRY,
)  # fmt: skip
DURATION = Histogram(
    "slipway_operator_reconcile_duration_seconds", "How long a look at a resource took", ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120), registry=REGISTRY,
)  # fmt: skip
ERRORS = Counter(
    "slipway_operator_errors", "Looks that failed, by the error's class", ["kind", "error"], registry=REGISTRY
)
JOBS = Counter(
    "slipway_operator_jobs", "Jobs, by what they were for and how they went: created, succeeded or failed",
    ["purpose", "result"], registry=REGISTRY,
)  # fmt: skip
QUEUE = Gauge(
    "slipway_operator_queue", "Resources that are due now, that are due later, and that are being looked at", ["state"],
    registry=REGISTRY,
)  # fmt: skip
REFUSED = Counter("slipway_operator_queue_refused", "Resources that found the queue full", registry=REGISTRY)
OUTDATED = Gauge(
    "slipway_operator_definitions_outdated", "Fields that this operator knows and the cluster's definitions lack",
    registry=REGISTRY,
)  # fmt: skip
PROPAGATION = Histogram(
    "slipway_operator_secret_propagation_seconds", "From a Secret's write until every pod was seen to follow it",
    ["kind"], buckets=(0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120, 300), registry=REGISTRY,
)  # fmt: skip
ROTATIONS = Counter(
    "slipway_operator_rotations", "Rotations that ended, by what caused them and how they ended",
    ["kind", "cause", "result"], registry=REGISTRY,
)  # fmt: skip
LAGGING = Gauge(
    "slipway_operator_consumers_lagging", "Pods that haven't followed the last change, or can't be asked",
    ["kind", "namespace", "name"], registry=REGISTRY,
)  # fmt: skip
STALLED = Gauge(
    "slipway_operator_resource_stalled", "Whether a person must act: 1 while the resource is Stalled, else 0",
    ["kind", "namespace", "name"], registry=REGISTRY,
)  # fmt: skip
LEASE_HELD = Gauge(
    "slipway_operator_lease_held", "Whether this operator looks after the namespace: 1, or 0 while another does",
    ["namespace", "lease"], registry=REGISTRY,
)  # fmt: skip
LEASE_AGE = Gauge(
    "slipway_operator_lease_renewal_age_seconds", "Time since a Lease that is held was renewed", ["namespace", "lease"],
    registry=REGISTRY,
)  # fmt: skip
LEASE_TRANSITIONS = Gauge(
    "slipway_operator_lease_transitions", "How often the Lease has changed hands", ["namespace", "lease"],
    registry=REGISTRY,
)  # fmt: skip
CLOCK_SKEW = Gauge(
    "slipway_operator_clock_skew_seconds",
    "How far this machine's clock is ahead of the API server's",
    registry=REGISTRY,
)
EVENT_AGE = Gauge(
    "slipway_operator_last_event_age_seconds", "Time since the watch of a kind told of a change", ["kind"],
    registry=REGISTRY,
)  # fmt: skip


def forget_resource(kind: str, namespace: str, name: str) -> None:
    """It is gone, and so are its series."""
    for gauge in (LAGGING, STALLED):
        with suppress(KeyError):
            gauge.remove(kind, namespace, name)
    RESOURCES.forget((kind, namespace, name))


class LastEvents:
    """When the watch of each kind last told of something, on the monotonic clock."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def seen(self, kind: str) -> None:
        first = kind not in self._at
        self._at[kind] = time.monotonic()
        if first:
            EVENT_AGE.labels(kind).set_function(lambda: self.age(kind) or 0.0)

    def age(self, kind: str) -> float | None:
        """Seconds; None before the first event."""
        at = self._at.get(kind)
        return None if at is None else time.monotonic() - at
