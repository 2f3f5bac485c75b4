"""Runs the processes: listeners, signals, the order of starting and stopping.

Stop, in order: SIGTERM → `/readyz` 503 at once → the API serves on for `drain` seconds, closing kept-alive
connections with its replies → listeners close → running requests finish within `shutdown_timeout` → worker → pools.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from slipway.app import open_app
from slipway.edge.drain import DrainState
from slipway.edge.ops import OpsApp
from slipway.edge.protocol import bounded
from slipway.jobs.registry import make_worker
from slipway.jobs.worker import Worker
from slipway.readiness import Startup
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.telemetry.logs import LineWriter

logger = logging.getLogger("slipway.server")

KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than proxies keep theirs (60 s), so that the proxy closes first."""

BACKLOG = 2048


class ListenError(OSError):
    """An address can't be listened on; the message names the setting to change."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Bind before anything is started, so that a taken port costs nothing. Raises ListenError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ListenError(f"Can't listen on {host}:{port} ({reason}): set {setting} to a free port.") from None
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: this module decides when it stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn(app: Any, settings: Settings, *, proxies: bool) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=bounded(settings.max_header_bytes),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=proxies and bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=round(settings.shutdown_timeout) or 1,
            backlog=BACKLOG,
        )
    )


@asynccontextmanager
async def _serving(
    server: _Server, listener: socket.socket, *, leave: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Serve for as long as the block runs; `leave` is awaited before the listener closes."""
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        await leave()
        server.should_exit = True
        await task


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _nothing() -> None:
    return None


@asynccontextmanager
async def _ops(settings: Settings, resources: Resources, startup: Startup) -> AsyncIterator[None]:
    app = OpsApp(readiness=startup.checks, keys=lambda: keys_report(resources))
    listener = listen(settings.ops_host, settings.ops_port, "SLIPWAY_OPS_PORT")
    async with _serving(_uvicorn(app, settings, proxies=False), listener, leave=_nothing):
        yield


def keys_report(resources: Resources) -> dict[str, object]:
    """What this very process holds, ids only: the operator's evidence."""
    return {
        **resources.keys.report(),
        "token_lifetime": resources.settings.access_token_ttl,
        "database_role": resources.database.role,
    }


@asynccontextmanager
async def _working(worker: Worker, stop: asyncio.Event) -> AsyncIterator[None]:
    """Run jobs for as long as the block runs. A worker that ends by itself ends the process: somebody must notice."""
    task = asyncio.create_task(worker.run())
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        await worker.stop()
        await task


async def serve(
    settings: Settings,
    lines: LineWriter,
    *,
    with_worker: bool = False,
    ready: Callable[[Resources], Awaitable[None]] | None = None,
) -> None:
    """Serve the API until SIGTERM or SIGINT; `ready` is awaited once it takes requests."""
    stop = _stop_on_signals()
    listener = listen(settings.host, settings.port, "SLIPWAY_PORT")
    async with contextlib.AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        drain = DrainState()
        startup = Startup(resources, drain)
        await stack.enter_async_context(_ops(settings, resources, startup))
        if with_worker:
            await stack.enter_async_context(_working(make_worker(settings, resources.database), stop))

        async def leave() -> None:
            drain.begin()
            logger.info("Draining.", extra={"seconds": settings.drain})
            await asyncio.sleep(settings.drain)

        edge = await stack.enter_async_context(open_app(resources, lines, drain))
        server = _uvicorn(edge, settings, proxies=True)
        await stack.enter_async_context(_serving(server, listener, leave=leave))
        await stack.enter_async_context(startup.looking())
        await _first_of(stop, startup.done)
        if ready is not None and startup.done.is_set():
            await ready(resources)
        await stop.wait()


async def work(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT; running ones finish within `shutdown_timeout`."""
    stop = _stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        startup = Startup(resources, DrainState())
        await stack.enter_async_context(_ops(settings, resources, startup))
        await stack.enter_async_context(startup.looking())
        await _first_of(stop, startup.done)
        if startup.done.is_set():
            await stack.enter_async_context(_working(make_worker(settings, resources.database), stop))
            await stop.wait()


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
