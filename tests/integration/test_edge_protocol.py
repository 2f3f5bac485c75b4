"""What a connection may hold before it has sent a request, with a real server and raw sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servers.edge import HEAD_LIMIT as LIMIT
from servers.edge import Connect, Reader, Writer, serving
from slipway.edge import protocol as protocol_module
from slipway.edge.protocol import BoundedProtocol, bounded

MUCH = 16_000_000


def api() -> FastAPI:
    app = FastAPI()

    @app.api_route("/echo", methods=["GET", "POST"])
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    return app


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with serving(api(), bounded(LIMIT)) as opened:
        yield opened


async def _reply(reader: Reader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 5)
    return int(status.split()[1]), headers, body


async def _flood(writer: Writer, piece: bytes) -> int:
    """Send until somebody stops it; bytes that went away."""
    sent = 0
    with suppress(ConnectionError):
        while sent < MUCH:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    return sent


async def _problem(reader: Reader) -> dict[str, Any]:
    status, headers, body = await _reply(reader)
    problem: dict[str, Any] = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["request_id"]
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert status == problem["status"]
    return problem


async def _is_fine(connect: Connect) -> bool:
    reader, writer = await connect()
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    status, _, body = await _reply(reader)
    return (status, body) == (200, b'"hello"')


HEADER_LINES = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(100))

ENDLESS = [
    pytest.param(b"GET /echo HTTP/1.1\r\nHost: x\r\n", HEADER_LINES, id="header lines"),
    pytest.param(b"GET /echo HTTP/1.1\r\nX: ", b"x" * 8192, id="one header"),
    pytest.param(b"GET /", b"x" * 8192, id="url"),
]


@pytest.mark.parametrize(("head", "piece"), ENDLESS)
async def test_a_head_without_end_is_431_long_before_all_of_it_is_taken(
    connect: Connect, head: bytes, piece: bytes
) -> None:
    reader, writer = await connect()
    writer.write(head)
    flood = asyncio.create_task(_flood(writer, piece))
    assert (await _problem(reader))["error"] == "headers_too_large"
    assert await flood < MUCH
    assert await _is_fine(connect)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"1\r\nx\r\n0\r\n", HEADER_LINES, id="trailers"),
        pytest.param(b"1;", b"x" * 8192, id="an extension of a chunk"),
        pytest.param(b"", b"0" * 8192, id="zeros before a chunk's size"),
    ],
)
async def test_a_chunked_body_that_gets_no_further_is_431(connect: Connect, start: bytes, piece: bytes) -> None:
    reader, writer = await connect()
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert b"100 Continue" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.write(start)
    flood = asyncio.create_task(_flood(writer, piece))
    assert (await _problem(reader))["error"] == "headers_too_large"
    assert await flood < MUCH
    assert await _is_fine(connect)


async def test_no_more_than_the_limit_and_a_read_reaches_the_parser(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    parser = protocol_module.HttpRequestParser

    class Counting(parser):  # type: ignore[misc, valid-type]
        def feed_data(self, data: bytes) -> None:
            fed.append(len(data))
            super().feed_data(data)

    monkeypatch.setattr("httptools.HttpRequestParser", Counting)
    _, writer = await connect()
    writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n")
    await _flood(writer, HEADER_LINES)
    assert LIMIT < sum(fed) <= LIMIT + 2 * 256 * 1024


async def test_without_the_bound_all_of_it_is_taken() -> None:
    async with serving(api(), HttpToolsProtocol) as connect:
        _, writer = await connect()
        writer.write(b"GET /echo HTTP/1.1\r\nX: ")
        assert await _flood(writer, b"x" * 65536) >= MUCH


async def test_a_head_in_one_read_but_beyond_the_limit_is_431_too(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"GET /echo?" + b"x" * (LIMIT + 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    status, _, body = await _reply(reader)
    assert (status, json.loads(body)["error"]) == (431, "headers_too_large")


async def test_bodies_and_requests_on_one_connection_do_not_add_up(connect: Connect) -> None:
    reader, writer = await connect()
    body = b"x" * (10 * LIMIT)
    for _ in range(3):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (LIMIT // 2))
        await writer.drain()
        writer.write(b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await _reply(reader))[0] == 200


async def test_many_small_chunks_are_no_head(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(40):
        writer.write(b"1\r\nx\r\n" * 100)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    status, _, body = await _reply(reader)
    assert (status, len(body)) == (200, 4002)


async def test_what_is_no_http_is_a_problem_of_400(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"hello there\r\n\r\n")
    assert (await _problem(reader))["error"] == "bad_request"
    assert await asyncio.wait_for(reader.read(), 5) == b""


STARTED = {
    "nothing": b"",
    "half a head": b"GET /echo HTTP/1.1\r\nHost: x\r\n",
    "an empty line after a request": b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("said", STARTED)
async def test_a_connection_without_a_whole_head_is_closed_in_time(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT", 0.4)
    async with serving(api(), bounded(LIMIT)) as connect:
        reader, writer = await connect()
        writer.write(STARTED[said])
        if said.startswith("an empty"):
            await _reply(reader)
            writer.write(b"\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert await _is_fine(connect)


async def test_without_looking_half_a_head_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT", 0.1)
    monkeypatch.setattr(BoundedProtocol, "_look", lambda _: None)
    async with serving(api(), bounded(LIMIT)) as connect:
        reader, writer = await connect()
        writer.write(STARTED["half a head"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.6)


async def test_a_kept_alive_connection_is_not_closed_for_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT", 0.1)
    async with serving(api(), bounded(LIMIT)) as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await _reply(reader))[0] == 200
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.4)
