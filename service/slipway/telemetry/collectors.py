"""Metrics read when they are asked for: connection pool, process, build."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from slipway.telemetry.memory import MemoryLimit
from slipway.telemetry.registry import REGISTRY
from slipway.version import VERSION


class Watched(Protocol):
    """What is asked of a `Database`'s connections."""

    engine: AsyncEngine

    @property
    def idle(self) -> int: ...
    @property
    def in_use(self) -> int: ...


class PoolCollector(Collector):
    """Tells of one database's connection pool; of nothing while there is none."""

    def __init__(self) -> None:
        self._connections: weakref.ref[Watched] | None = None

    def watch(self, connections: Watched) -> None:
        """Tell of these from now on."""
        self._connections = weakref.ref(connections)

    def collect(self) -> Iterator[Metric]:
        watched = self._connections() if self._connections is not None else None
        pool = watched.engine.pool if watched is not None else None
        connections = GaugeMetricFamily(
            "slipway_pool_connections", "Connections to PostgreSQL by what they do.", labels=("state",)
        )
        limit = GaugeMetricFamily("slipway_pool_size", "Connections that may be open at once.")
        waiting = GaugeMetricFamily("slipway_pool_waiting", "Requests and jobs that wait for a connection.")
        if watched is not None and isinstance(pool, QueuePool):
            connections.add_metric(("in_use",), watched.in_use)
            connections.add_metric(("idle",), watched.idle)
            limit.add_metric((), pool.size())
            waiting.add_metric((), _waiting(pool))
        yield from (connections, limit, waiting)


def _waiting(pool: QueuePool) -> int:
    """How many wait; SQLAlchemy keeps its queue's waiters to itself, so 0 where they can't be found."""
    queue = getattr(getattr(pool, "_pool", None), "_queue", None)
    return len(getattr(queue, "_getters", ()))


POOL = PoolCollector()
REGISTRY.register(POOL)
REGISTRY.register(MemoryLimit())
ProcessCollector(registry=REGISTRY)
Info("slipway_build", "What runs here.", registry=REGISTRY).info(
    {"version": VERSION, "python": platform.python_version()}
)
