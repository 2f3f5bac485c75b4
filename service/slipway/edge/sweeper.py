"""One task a process that keeps every request's deadline and notices clients that went away.

A timer and a watching task for each request would cost more than most requests do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import monotonic

from prometheus_client import Gauge, Histogram

from slipway.edge.exchange import Cancelled, Exchange
from slipway.telemetry.registry import REGISTRY

INTERVAL = 0.1
"""Seconds between two looks; a deadline is kept to within this."""
WATCH_AFTER = 0.1
"""Age in seconds from which a request's client is watched."""

IN_PROGRESS = Gauge("http_requests_in_progress", "HTTP requests being worked on.", registry=REGISTRY)
LOOP_LAG = Histogram(
    "slipway_event_loop_lag_seconds",
    "How late the event loop came back to a task that was due.",
    registry=REGISTRY,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

log = logging.getLogger("slipway.edge")


class Sweeper:
    """Holds the requests in flight: `in_flight` is what the in-flight limit counts."""

    def __init__(self) -> None:
        self.in_flight: set[Exchange] = set()
        self._task: asyncio.Task[None] | None = None
        IN_PROGRESS.set_function(lambda: len(self.in_flight))

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="slipway-sweeper")

    async def stop(self) -> None:
        """End the sweeper; requests still in flight keep running without deadlines."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            due = monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            now = monotonic()
            LOOP_LAG.observe(max(0.0, now - due))
            try:
                self.sweep(now)
            except Exception:
                # Whatever it was, a sweeper that ended would leave every later request without its deadline.
                log.exception("Sweeping the requests in flight failed; it goes on.")

    def sweep(self, now: float) -> None:
        """Look at every request once; `now` is on the monotonic clock."""
        for exchange in list(self.in_flight):
            if now >= exchange.deadline:
                exchange.cancel(Cancelled.DEADLINE)
            elif _should_watch(exchange, now):
                exchange.watch()


def _should_watch(exchange: Exchange, now: float) -> bool:
    return (
        exchange.inbox is None
        and exchange.body_read
        and not exchange.receiving  # the handler is watching by itself
        and not exchange.disconnected
        and now - exchange.started >= WATCH_AFTER
    )
