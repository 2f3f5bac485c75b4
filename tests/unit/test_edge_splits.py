"""Packet boundaries mean nothing: the same bytes give the same replies, however they are cut."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from servers.asgi import WholeEdge
from servers.raw_requests import READ, REFUSED, Raw, Seen, head
from servers.seen import replies_in, seeing_api
from slipway.edge.protocol import BoundedProtocol
from slipway.settings import Settings

TURNS = 6
"""Of the event loop: enough for the application to answer what it has."""


class Wire(asyncio.Transport):
    """A connection in memory, which delivers in exactly the pieces that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""
        self.closed = False
        self.ended = asyncio.Event()
        self._readable = asyncio.Event()
        self._readable.set()

    async def deliver(self, protocol: asyncio.Protocol, pieces: list[bytes], pauses: list[bool]) -> bytes:
        """What came back, once the server ended the connection; before a piece with a pause the application may run."""
        for piece, pause in zip(pieces, pauses, strict=True):
            await self._readable.wait()
            for _ in range(TURNS * pause):
                await asyncio.sleep(0)
            if self.closed:
                break
            protocol.data_received(piece)
        await asyncio.wait_for(self.ended.wait(), 5)
        protocol.connection_lost(None)
        return self.received

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.ended.is_set()
        self.received += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closed = True
        self.ended.set()

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()


@pytest.fixture(scope="module")
def served() -> tuple[uvicorn.Config, list[Seen]]:
    app, seen = seeing_api()
    edge = WholeEdge(app, Settings()).edge
    config = uvicorn.Config(edge, http=BoundedProtocol, lifespan="off", log_config=None, ws="none")
    config.load()
    return config, seen


async def _statuses(config: uvicorn.Config, pieces: list[bytes], pauses: list[bool]) -> list[int]:
    wire = Wire()
    protocol = BoundedProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    return [reply.status for reply in replies_in(await wire.deliver(protocol, pieces, pauses))]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_fails_outside_the_edge_is_a_problem_like_any_other(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError("a secret detail")

    config = uvicorn.Config(fails, http=BoundedProtocol, lifespan="off", log_config=None, ws="none")
    config.load()
    wire = Wire()
    protocol = BoundedProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    sent = head(start=f"{method} /echo HTTP/1.1")
    told, _, body = (await wire.deliver(protocol, [sent], [False])).decode().partition("\r\n\r\n")
    assert told.startswith("HTTP/1.1 500 ")
    assert "content-type: application/problem+json" in told
    [record] = [record for record in caplog.records if "request_id" in record.__dict__]
    assert record.levelname == "ERROR"
    assert f"x-request-id: {record.__dict__['request_id']}" in told
    assert "connection: close" in told
    assert "secret" not in body
    assert (json.loads(body)["error"] == "internal_error") if method == "GET" else (body == "")


@given(data=st.data(), case=st.sampled_from([*READ, *REFUSED]))
@settings(max_examples=300, deadline=None)
def test_packet_boundaries_change_no_reply_and_no_request(
    served: tuple[uvicorn.Config, list[Seen]], data: st.DataObject, case: Raw
) -> None:
    config, seen = served
    seen.clear()
    sent = case.all_sent
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=12)))
    pieces = [sent[start:end] for start, end in pairwise([0, *cuts, len(sent)])]
    pauses = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    assert asyncio.run(_statuses(config, pieces, pauses)) == case.all_statuses
    assert seen == case.all_seen


@pytest.mark.parametrize("case", [*READ, *REFUSED], ids=str)
def test_byte_by_byte_is_no_other_message(served: tuple[uvicorn.Config, list[Seen]], case: Raw) -> None:
    config, seen = served
    seen.clear()
    pieces = [case.all_sent[at : at + 1] for at in range(len(case.all_sent))]
    assert asyncio.run(_statuses(config, pieces, [True] * len(pieces))) == case.all_statuses
    assert seen == case.all_seen
