"""What becomes of requests that outlast the process that works on them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from e2e.conftest import Serve, sign_in
from servers.databases import TestDatabase
from servers.locks import locked_item, some_wait
from servers.seen import RawReply, replies_in
from servers.slipway import SlipwayProcess
from servers.waiting import until

BODY = b'{"body": "x"}'


@asynccontextmanager
async def _asked(port: int, sent: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        yield reader
    finally:
        writer.close()


def _patch(path: str, headers: dict[str, str], length: int = len(BODY)) -> bytes:
    lines = [
        f"PATCH {path} HTTP/1.1",
        "Host: slipway",
        "X-Request-ID: find-me",
        f"Authorization: {headers['Authorization']}",
    ]
    return "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {length}", "", ""]).encode()


def _access(output: str, method: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "slipway.access" and line["method"] == method]


def _is_told(reply: RawReply) -> None:
    problem = json.loads(reply.body)
    assert (reply.status, problem["error"], problem["request_id"]) == (503, "unavailable", "find-me")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] == "find-me"
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.headers["connection"] == "close"


async def test_requests_that_outlast_the_stop_are_503_in_reply_and_log_and_are_not_done(
    serve: Serve, database: TestDatabase
) -> None:
    slipway = serve(shutdown_timeout=0.5, request_deadline=60)
    headers = sign_in(slipway)
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(locked_item(slipway, database, headers))
        whole = _patch(path, headers) + BODY
        readers = [
            await stack.enter_async_context(_asked(slipway.port, sent))
            for sent in (whole, _patch(path, headers) + BODY[:5], whole * 2)
        ]
        await until(lambda: some_wait(database, 2), within=5)
        await until(lambda: _in_progress(slipway, 3), within=5)
        slipway.signal(signal.SIGTERM)
        received = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader in readers)), 10)
        assert await asyncio.to_thread(slipway.wait, 10) == 0
    # What waited behind a request that was given up was never begun, and has no reply.
    for [reply] in map(replies_in, received):
        _is_told(reply)
    lines = _access(slipway.output, "PATCH")
    assert [(line["status"], line["request_id"], line["level"]) for line in lines] == [(503, "find-me", "ERROR")] * 3
    assert "Traceback" not in slipway.output
    connection = await asyncpg.connect(database.url_owner, timeout=10)
    assert await connection.fetchval("SELECT body FROM items") == ""
    await connection.close()


async def test_a_request_that_ends_in_time_is_answered_as_ever(serve: Serve, database: TestDatabase) -> None:
    slipway = serve(shutdown_timeout=10, request_deadline=60)
    headers = sign_in(slipway)
    async with AsyncExitStack() as stack:
        async with locked_item(slipway, database, headers) as path:
            reader = await stack.enter_async_context(_asked(slipway.port, _patch(path, headers) + BODY))
            await until(lambda: some_wait(database), within=5)
            slipway.signal(signal.SIGTERM)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.5)
        [reply] = replies_in(await asyncio.wait_for(reader.read(), 10))
    assert reply.status == 200
    assert await asyncio.to_thread(slipway.wait, 10) == 0


async def _in_progress(slipway: SlipwayProcess, number: int) -> bool:
    port = int(slipway.ops.rsplit(":", 1)[1])
    async with _asked(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as reader:
        return b"http_requests_in_progress %d.0" % number in await asyncio.wait_for(reader.read(), 5)
