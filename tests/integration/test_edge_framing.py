"""Where requests begin and end on a connection, with a real server and raw sockets (RFC 9112)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servers.edge import HEAD_LIMIT, Connect, serving
from servers.raw_requests import BY_CHUNKS, CHUNKED, GET, H2C, LAST, LENGTH, READ, REFUSED, SMUGGLED, Raw, Seen, head
from servers.seen import RawReply, replies_in, seeing_api
from slipway.edge import protocol as protocol_module
from slipway.edge.protocol import LINGER_BYTES, MOST_PIPELINED, SMALL_BODY, bounded

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSE = "Connection: close"
POST_HEADERS = "POST /headers HTTP/1.1"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_SEEN = ("GET", "/last", b"")


class Api:
    def __init__(self, connect: Connect, seen: list[Seen]) -> None:
        self.connect = connect
        self.seen = seen

    async def answers(self, *pieces: bytes) -> list[RawReply]:
        return await _exchange(self.connect, *pieces)


async def _exchange(connect: Connect, *pieces: bytes) -> list[RawReply]:
    """Send, piece by piece, and read until the server closes."""
    reader, writer = await connect()
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    return replies_in(await asyncio.wait_for(reader.read(), 5))


def telling_api(gate: asyncio.Event | None = None) -> FastAPI:
    app = FastAPI()

    @app.api_route("/headers", methods=["GET", "POST"])
    async def headers(request: Request) -> list[tuple[str, str]]:
        await request.body()
        return request.headers.items()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter(("one ", "two ")))

    @app.get("/gate")
    async def wait() -> str:
        assert gate is not None
        await gate.wait()
        return "open"

    return app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Api]:
    app, seen = seeing_api()
    async with serving(app, bounded(HEAD_LIMIT)) as connect:
        yield Api(connect, seen)


@pytest.fixture
def api(served: Api) -> Api:
    served.seen.clear()
    return served


def _statuses(replies: list[RawReply]) -> list[int]:
    return [reply.status for reply in replies]


def _is_last_word(reply: RawReply) -> None:
    problem = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["connection"] == "close"
    assert (problem["status"], problem["request_id"]) == (reply.status, reply.headers["x-request-id"])


@pytest.mark.parametrize("case", READ, ids=str)
async def test_a_request_is_read_as_it_is_meant_and_its_body_is_no_request(api: Api, case: Raw) -> None:
    assert _statuses(await api.answers(case.all_sent)) == case.all_statuses
    assert api.seen == case.all_seen


@pytest.mark.parametrize("case", REFUSED, ids=str)
async def test_a_doubtful_request_is_refused_once_and_nothing_after_it_runs(api: Api, case: Raw) -> None:
    replies = await api.answers(case.all_sent)
    assert _statuses(replies) == case.all_statuses
    assert api.seen == case.all_seen
    if case.statuses[-1] != 200:
        _is_last_word(replies[-1])


async def test_without_the_edge_a_body_behind_an_upgrade_runs() -> None:
    app, seen = seeing_api()
    async with serving(app, HttpToolsProtocol) as connect:
        reader, writer = await connect()
        writer.write(head(*H2C, LENGTH))
        await asyncio.sleep(0.1)  # a packet of its own
        writer.write(SMUGGLED + LAST)
        await asyncio.wait_for(reader.read(), 5)
    assert ("GET", "/smuggled", b"") in seen


async def test_a_refusal_to_head_has_no_body(api: Api) -> None:
    reader, writer = await api.connect()
    writer.write(head(start="HEAD /echo HTTP/1.1", host=None))
    received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


async def test_the_host_of_the_target_goes_before_the_header() -> None:
    async with serving(telling_api(), bounded(HEAD_LIMIT)) as connect:
        [reply] = await _exchange(connect, head(CLOSE, start="GET http://other:81/headers HTTP/1.1", host="Host: x"))
    assert ["host", "other:81"] in json.loads(reply.body)
    assert ["host", "x"] not in json.loads(reply.body)


async def test_trailers_are_no_headers() -> None:
    trailers = b"Authorization: Bearer t\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    async with serving(telling_api(), bounded(HEAD_LIMIT)) as connect:
        [reply] = await _exchange(connect, head(CLOSE, BY_CHUNKS, start=POST_HEADERS) + CHUNKED[:-2] + trailers)
    assert {name for name, _ in json.loads(reply.body)} == {"host", "connection", "transfer-encoding"}


async def test_an_upgrade_is_not_shown_to_the_application() -> None:
    async with serving(telling_api(), bounded(HEAD_LIMIT)) as connect:
        [reply] = await _exchange(connect, head(*H2C, LENGTH, CLOSE, start=POST_HEADERS) + SMUGGLED)
    assert "upgrade" not in {name for name, _ in json.loads(reply.body)}


async def test_a_reply_without_length_is_not_chunked_for_http_1_0() -> None:
    async with serving(telling_api(), bounded(HEAD_LIMIT)) as connect:
        _, writer = opened = await connect()
        writer.write(head(start="GET /stream HTTP/1.0"))
        reply, _, body = (await asyncio.wait_for(opened[0].read(), 5)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in reply.lower()
    assert body == b"one two "


async def test_a_refusal_waits_for_the_replies_before_it() -> None:
    gate = asyncio.Event()
    app = telling_api(gate)
    async with serving(app, bounded(HEAD_LIMIT)) as connect:
        reader, writer = await connect()
        writer.write(head(start="GET /gate HTTP/1.1") + head(host=None) + SMUGGLED)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        gate.set()
        replies = replies_in(await asyncio.wait_for(reader.read(), 5))
    assert _statuses(replies) == [200, 400]
    _is_last_word(replies[-1])


async def test_who_expects_a_continue_gets_it_when_the_body_is_wanted(api: Api) -> None:
    reader, writer = await api.connect()
    writer.write(head(*H2C, LENGTH, "Expect: 100-continue"))
    assert await asyncio.wait_for(reader.readexactly(len(CONTINUE)), 5) == CONTINUE
    writer.write(SMUGGLED + LAST)
    assert _statuses(replies_in(await asyncio.wait_for(reader.read(), 5))) == [200, 200]
    assert api.seen == [("POST", "/echo", SMUGGLED), LAST_SEEN]


async def test_http_1_0_gets_no_continue_and_its_connection_ends_with_the_reply(api: Api) -> None:
    sent = head(LENGTH, "Expect: 100-continue", "Connection: keep-alive", start="POST /echo HTTP/1.0", host=None)
    reader, writer = await api.connect()
    writer.write(sent + SMUGGLED + LAST)
    received = await asyncio.wait_for(reader.read(), 5)
    assert b"100 Continue" not in received
    assert _statuses(replies_in(received)) == [200]
    assert api.seen == [("POST", "/echo", SMUGGLED)]


async def test_http_1_0_has_neither_expectations_nor_upgrades(api: Api) -> None:
    sent = head(*H2C, LENGTH, "Expect: the-unexpected", start="POST /echo HTTP/1.0", host=None)
    assert _statuses(await api.answers(sent + SMUGGLED + LAST)) == [200]
    assert api.seen == [("POST", "/echo", SMUGGLED)]


async def test_a_refusal_is_logged_with_the_id_that_the_client_is_told(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    [reply] = await api.answers(head(host=None))
    [record] = [record for record in caplog.records if record.name == "slipway.edge"]
    assert (record.levelname, record.__dict__["request_id"]) == ("WARNING", reply.headers["x-request-id"])


EARLY = {
    "nobody said to go on": head(LENGTH, "Expect: 100-continue", start="POST /early HTTP/1.1"),
    "much is missing": head(f"Content-Length: {SMALL_BODY + 1}", start="POST /early HTTP/1.1"),
    "nobody knows how much is missing": head(BY_CHUNKS, start="POST /early HTTP/1.1"),
}


@pytest.mark.parametrize("why", EARLY)
async def test_a_reply_before_the_body_ends_the_connection_where(api: Api, why: str) -> None:
    reader, writer = await api.connect()
    writer.write(EARLY[why])
    reply = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert b"401" in reply
    assert b"connection: close" in reply
    writer.write(SMUGGLED + LAST)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert api.seen == []


async def test_a_client_that_sends_on_after_an_early_reply_can_read_it(api: Api) -> None:
    """Closing at once would have the kernel throw the reply away, because bytes of the body were never read."""
    size = LINGER_BYTES // 2
    sent = head(f"Content-Length: {size}", start="POST /early HTTP/1.1")
    assert _statuses(await api.answers(sent, *(b"x" * 8192,) * (size // 8192))) == [401]


@pytest.mark.parametrize("body", [SMUGGLED, b"x" * SMALL_BODY], ids=["a request", "the most"])
async def test_little_that_is_missing_after_an_early_reply_is_dropped(api: Api, body: bytes) -> None:
    reader, writer = await api.connect()
    writer.write(head(f"Content-Length: {len(body)}", start="POST /early HTTP/1.1"))
    reply = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert b"connection: close" not in reply
    writer.write(body + LAST)
    assert _statuses(replies_in(await asyncio.wait_for(reader.read(), 5))) == [200]
    assert api.seen == [LAST_SEEN]


async def test_a_connection_whose_rest_was_dropped_stays_open_like_any_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT", 0.1)
    reader, writer = await api.connect()
    writer.write(head(LENGTH, start="POST /early HTTP/1.1"))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.write(SMUGGLED)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.4)


async def test_requests_that_wait_for_their_replies_have_a_limit(api: Api) -> None:
    replies = await api.answers(GET * (MOST_PIPELINED + 10))
    assert _statuses(replies) == [200] * (MOST_PIPELINED + 1) + [400]
    _is_last_word(replies[-1])
    assert len(api.seen) == MOST_PIPELINED + 1
