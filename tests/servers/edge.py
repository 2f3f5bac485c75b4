"""An edge behind a real listener, and raw connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from servers.asgi import WholeEdge
from servers.waiting import free_port, until
from slipway.settings import Settings

HEAD_LIMIT = 8192

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Connect = Callable[[], Awaitable[tuple[Reader, Writer]]]


class Server(uvicorn.Server):
    """uvicorn that leaves the signals of the test's process alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: FastAPI, http: type[asyncio.Protocol]) -> AsyncIterator[Connect]:
    """Yields what opens a connection; all are closed in the end."""
    whole = WholeEdge(app, Settings(max_header_bytes=HEAD_LIMIT))
    port = free_port()
    config = uvicorn.Config(
        whole.edge,
        port=port,
        http=http,
        lifespan="off",
        log_config=None,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    opened: list[Writer] = []

    async def connect() -> tuple[Reader, Writer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        return reader, writer

    async with whole.edge.serving():
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield connect
        finally:
            for writer in opened:
                writer.close()
            server.should_exit = True
            await task
