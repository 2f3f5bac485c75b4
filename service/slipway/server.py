"""Runs the processes: listeners, signals, the order of starting and stopping.

Stop, in order: SIGTERM → `/readyz` 503 at once → the API serves on for `drain` seconds, closing kept-alive
connections with its replies → listeners close; running requests and jobs finish within `shutdown_timeout` → requests
that didn't are answered 503, replies that have begun are broken off → pools.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from slipway.app import open_app
from slipway.edge.drain import DrainState
from slipway.edge.ops import OpsApp
from slipway.edge.protocol import bounded
from slipway.jobs.worker import Worker
from slipway.listening import listen
from slipway.readiness import Startup
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.telemetry.logs import LineWriter

logger = logging.getLogger("slipway.server")

KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than proxies keep theirs (60 s), so that the proxy closes first."""

BACKLOG = 2048

LAST_REPLIES = 1.0
"""Seconds that requests have to end once they were given up; twice, with those that didn't cancelled in between."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, and with a last word to each request: this module decides when it stops.

    `give_up` is called when requests have had their `patience` (seconds); uvicorn would cancel them then.
    """

    def __init__(self, config: uvicorn.Config, patience: float, give_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._patience = patience
        self._give_up = give_up

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = asyncio.get_running_loop().call_later(self._patience, self._give_up)
        try:
            await super().shutdown(sockets)
        finally:
            end.cancel()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_REPLIES)


def _uvicorn(app: Any, settings: Settings, give_up: Callable[[], None] = lambda: None) -> _Server:
    config = uvicorn.Config(
        app,
        http=bounded(settings.max_header_bytes),
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.shutdown_timeout + LAST_REPLIES,  # type: ignore[arg-type] # asyncio takes fractions
        backlog=BACKLOG,
    )
    return _Server(config, settings.shutdown_timeout, give_up)


class _Parts:
    """What runs side by side, and ends at the same time. A part that ends by itself ends all: somebody must notice."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._parts: list[tuple[asyncio.Task[None], Callable[[], Awaitable[None]]]] = []

    def add_server(self, server: _Server, listeners: list[socket.socket]) -> None:
        async def end() -> None:
            server.should_exit = True

        self._add(server.serve(sockets=listeners), end)

    def add_worker(self, worker: Worker) -> None:
        self._add(worker.run(), worker.stop)

    def _add(self, work: Coroutine[Any, Any, None], end: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._parts.append((task, end))

    def _ended(self, _: asyncio.Task[None]) -> None:
        if not self._stop.is_set():
            logger.error("A part of the process ended by itself, so the process ends.")
            self._stop.set()

    async def end(self) -> None:
        """End all at once and wait for all. Raises what a part ended with."""
        self._stop.set()
        await asyncio.gather(*(end() for _, end in self._parts))
        ends = await asyncio.gather(*(task for task, _ in self._parts), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                raise error


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _add_ops(parts: _Parts, settings: Settings, resources: Resources, startup: Startup) -> None:
    app = OpsApp(readiness=startup.checks, keys=lambda: keys_report(resources))
    listeners = listen(settings.ops_host, settings.ops_port, "SLIPWAY_OPS_PORT")
    parts.add_server(_uvicorn(app, settings), listeners)


def keys_report(resources: Resources) -> dict[str, object]:
    """What this very process holds, ids only: the operator's evidence."""
    return {
        **resources.keys.report(),
        "token_lifetime": resources.settings.access_token_ttl,
        "database_role": resources.database.role,
    }


async def serve(
    settings: Settings,
    lines: LineWriter,
    *,
    with_worker: bool = False,
    ready: Callable[[Resources], Awaitable[None]] | None = None,
) -> None:
    """Serve the API until SIGTERM or SIGINT; `ready` is awaited once it takes requests."""
    stop = _stop_on_signals()
    listeners = listen(settings.host, settings.port, "SLIPWAY_PORT")
    async with contextlib.AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        drain = DrainState()
        startup = Startup(resources, drain)
        edge = await stack.enter_async_context(open_app(resources, lines, drain))
        parts = _Parts(stop)
        stack.push_async_callback(parts.end)
        _add_ops(parts, settings, resources, startup)
        if with_worker:
            parts.add_worker(_make_worker(settings, resources.database))
        parts.add_server(_uvicorn(edge, settings, edge.give_up), listeners)
        await stack.enter_async_context(startup.looking())
        await _first_of(stop, startup.done)
        # What a started process holds stays: the collector need not walk it again and again (it showed in p99).
        gc.collect()
        gc.freeze()
        if ready is not None and startup.done.is_set():
            await ready(resources)
        await stop.wait()
        drain.begin()
        logger.info("Draining.", extra={"seconds": settings.drain})
        await asyncio.sleep(settings.drain)


def _make_worker(settings: Settings, database: Database) -> Worker:
    from slipway.worker import make_worker  # noqa: PLC0415 - mail and its client are a worker's alone

    return make_worker(settings, database)


async def work(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT; running ones finish within `shutdown_timeout`."""
    stop = _stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        startup = Startup(resources, DrainState())
        # Ended after the worker, so that one can watch the last jobs.
        ops, jobs = _Parts(stop), _Parts(stop)
        stack.push_async_callback(ops.end)
        _add_ops(ops, settings, resources, startup)
        stack.push_async_callback(jobs.end)
        await stack.enter_async_context(startup.looking())
        await _first_of(stop, startup.done)
        if startup.done.is_set():
            jobs.add_worker(_make_worker(settings, resources.database))
            await stop.wait()


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
