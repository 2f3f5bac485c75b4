"""What a request was made of ends with it: nothing waits for the collector, who would come when there is much of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
import uvloop
from fastapi import FastAPI, HTTPException, Request

from integration.test_edge_server import Server
from servers.asgi import WholeEdge
from servers.waiting import free_port, until
from slipway.edge.exchange import Exchange
from slipway.edge.protocol import bounded
from slipway.settings import Settings

REQUESTS = 20


def api() -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    @app.get("/refused")
    async def refused() -> str:
        raise HTTPException(403)

    return app


@asynccontextmanager
async def serving() -> AsyncIterator[httpx.AsyncClient]:
    whole, port = WholeEdge(api(), Settings()), free_port()
    config = uvicorn.Config(whole.edge, port=port, lifespan="off", log_config=None, ws="none", http=bounded(32 * 1024))
    server = Server(config)
    async with whole.edge.serving():
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as opened:
            yield opened
        server.should_exit = True
        await task


def waiting() -> int:
    return sum(isinstance(each, Exchange) for each in gc.get_objects())


async def left_by(method: str, path: str, status: int, body: str) -> int:
    """How many requests of so many wait for the collector."""
    async with serving() as client:
        await client.get("/fine")
        gc.collect()
        before = waiting()  # what tests before this one have left somewhere
        gc.disable()
        try:
            for _ in range(REQUESTS):
                assert (await client.request(method, path, content=body)).status_code == status
            return waiting() - before
        finally:
            gc.enable()


ASKED = [
    ("GET", "/fine", 200, ""),
    ("HEAD", "/fine", 200, ""),
    ("POST", "/echo", 200, "planks"),
    ("GET", "/refused", 403, ""),
    ("GET", "/nowhere", 404, ""),
]


@pytest.mark.parametrize(("method", "path", "status", "body"), ASKED)
def test_a_request_leaves_nothing_to_collect(method: str, path: str, status: int, body: str) -> None:
    # The latest is the connection's; its first one is kept by a timer. The loop is the one that serves: asyncio's own
    # keeps a timer that was cancelled, with all that was current when it was set, until its time.
    assert uvloop.run(left_by(method, path, status, body)) <= 2


def test_holding_on_to_it_would_leave_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(Exchange, "let_go", lambda _: None)
    assert uvloop.run(left_by("GET", "/fine", 200, "")) >= REQUESTS
