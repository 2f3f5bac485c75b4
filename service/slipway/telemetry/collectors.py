"""Metrics read when they are asked for: connection pool, process, build."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Iterator

from prometheus_client import Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

from slipway.telemetry.registry import REGISTRY
from slipway.version import VERSION


class PoolCollector(Collector):
    """Tells of one engine's connection pool; of nothing while there is none."""

    def __init__(self) -> None:
        self._engine: weakref.ref[Engine] | None = None

    def watch(self, engine: Engine) -> None:
        """Tell of this engine from now on (of an AsyncEngine give `sync_engine`)."""
        self._engine = weakref.ref(engine)

    def collect(self) -> Iterator[Metric]:
        engine = self._engine() if self._engine is not None else None
        pool = engine.pool if engine is not None else None
        connections = GaugeMetricFamily(
            "slipway_pool_connections", "Connections to PostgreSQL by what they do.", labels=("state",)
        )
        limit = GaugeMetricFamily("slipway_pool_size", "Connections that the pool keeps open.")
        overflow = GaugeMetricFamily("slipway_pool_overflow", "Connections open beyond slipway_pool_size.")
        waiting = GaugeMetricFamily("slipway_pool_waiting", "Requests and jobs that wait for a connection.")
        if isinstance(pool, QueuePool):
            connections.add_metric(("in_use",), pool.checkedout())
            connections.add_metric(("idle",), pool.checkedin())
            limit.add_metric((), pool.size())
            overflow.add_metric((), max(0, pool.overflow()))
            waiting.add_metric((), _waiting(pool))
        yield from (connections, limit, overflow, waiting)


def _waiting(pool: QueuePool) -> int:
    """How many wait; SQLAlchemy keeps its queue's waiters to itself, so 0 where they can't be found."""
    queue = getattr(getattr(pool, "_pool", None), "_queue", None)
    return len(getattr(queue, "_getters", ()))


POOL = PoolCollector()
REGISTRY.register(POOL)
ProcessCollector(registry=REGISTRY)
Info("slipway_build", "What runs here.", registry=REGISTRY).info(
    {"version": VERSION, "python": platform.python_version()}
)
