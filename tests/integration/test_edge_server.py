"""Deadlines and lost clients with a real server, real sockets and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text
from starlette.responses import StreamingResponse

from servers.asgi import WholeEdge
from servers.staging import staged
from servers.waiting import free_port, until
from slipway.edge import sweeper
from slipway.settings import Settings
from slipway.storage.engine import Database


class Server(uvicorn.Server):
    """uvicorn that leaves the signals of the test's process alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def sleeping_api(db: Database) -> FastAPI:
    app = FastAPI()

    @app.get("/sleep/{seconds}")
    async def sleep(seconds: float) -> str:
        async with staged(db) as session:
            await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return "slept"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b"abc"
                await asyncio.sleep(0)

        return StreamingResponse(pieces(), headers={"Content-Length": "3000", "ETag": '"1"'})

    return app


@pytest.fixture
def whole(db: Database) -> WholeEdge:
    return WholeEdge(sleeping_api(db), Settings(request_deadline=30))


@pytest.fixture
async def client(whole: WholeEdge) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    server = Server(
        uvicorn.Config(whole.edge, port=port, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=2)
    )
    async with whole.edge.serving():
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as opened:
            yield opened
        server.should_exit = True
        await task


async def _sleeping(db: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()"
    query += " AND state = 'active'"
    async with staged(db) as session:
        return int((await session.execute(text(query))).scalar_one())


async def _hang_up(client: httpx.AsyncClient, db: Database) -> None:
    asking = asyncio.create_task(client.get("/sleep/20"))
    await until(lambda: db.connections.in_use == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_client_that_hangs_up_frees_its_connection_and_ends_its_statement(
    client: httpx.AsyncClient, db: Database, whole: WholeEdge
) -> None:
    await _hang_up(client, db)
    await until(lambda: whole.edge.in_flight == 0)
    await until(lambda: db.connections.in_use == 0)

    async def none_sleeps() -> bool:
        return await _sleeping(db) == 0

    await until(none_sleeps)
    await until(lambda: [line["status"] for line in whole.access()] == [499])


async def test_without_watching_its_connection_stays_in_use(
    client: httpx.AsyncClient, db: Database, whole: WholeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_should_watch", lambda *_: False)
    await _hang_up(client, db)
    with pytest.raises(AssertionError, match="Not seen"):
        await until(lambda: db.connections.in_use == 0, within=0.5)
    assert whole.edge.in_flight == 1


async def test_a_reply_of_the_edge_leaves_the_connection_usable(client: httpx.AsyncClient) -> None:
    refused = await client.post("/sleep/0", content=b"x" * 3_000_000)
    assert refused.status_code == 413
    assert (await client.get("/sleep/0")).json() == "slept"


async def test_a_deadline_ends_the_statement_too(client: httpx.AsyncClient, db: Database, whole: WholeEdge) -> None:
    whole.edge._settings = Settings(request_deadline=0.3)  # noqa: SLF001 - this server, less patient
    reply = await client.get("/sleep/20")
    assert (reply.status_code, reply.json()["error"]) == (503, "deadline_exceeded")
    await until(lambda: db.connections.in_use == 0)
    assert await _sleeping(db) == 0


@pytest.mark.parametrize(
    ("method", "header", "status"),
    [("HEAD", "X-A: b", b"200 OK"), ("GET", 'If-None-Match: W/"1"', b"304 Not Modified")],
)
async def test_after_a_reply_without_its_content_the_connection_is_in_step(
    client: httpx.AsyncClient, method: str, header: str, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    without = f"{method} /stream HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n"
    writer.write((without * 2 + "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").encode())
    answers = (await asyncio.wait_for(reader.read(), 10)).split(b"HTTP/1.1 ")
    writer.close()
    assert [answer.startswith(status) for answer in answers[1:]] == [True, True, method == "HEAD"]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:]] == [b"", b"", b"abc" * 1000]
