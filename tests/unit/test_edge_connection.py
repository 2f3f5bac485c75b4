"""What becomes of a connection, moment by moment."""

from __future__ import annotations

import json

import pytest

from servers.raw_requests import GET, head
from servers.wire import connected, unwrapped
from slipway.edge.protocol import LINGER_BYTES


async def silent(_scope: object, _receive: object, _send: object) -> None:
    return


@pytest.mark.parametrize("said", [b"", GET[:10]])
async def test_a_connection_that_waits_for_a_head_is_closed_when_it_is_found_so_twice(said: bytes) -> None:
    wire, protocol = connected(unwrapped(silent))
    protocol.data_received(said)
    protocol._look()  # noqa: SLF001 - what its timer does
    assert not wire.closed
    protocol._look()  # noqa: SLF001
    assert wire.closed
    protocol.connection_lost(None)


async def test_a_client_that_goes_on_after_a_refusal_is_cut_off_beyond_a_limit() -> None:
    wire, protocol = connected(unwrapped(silent))
    protocol.data_received(head(host=None))
    assert wire.ended.is_set()
    protocol.data_received(b"x" * LINGER_BYTES)
    assert not wire.closed
    protocol.data_received(b"x")
    assert wire.closed
    protocol.connection_lost(None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_fails_outside_the_edge_is_a_problem_like_any_other(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError("a secret detail")

    wire, protocol = connected(unwrapped(fails))
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
