"""What becomes of a connection, moment by moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from servers.raw_requests import BY_CHUNKS, GET, LENGTH, SMUGGLED, head
from servers.waiting import until
from servers.wire import connected, unwrapped
from slipway.edge.protocol import LINGER, LINGER_BYTES


async def silent(_scope: object, _receive: object, _send: object) -> None:
    return


class Api:
    """`/early` is answered at once; others are when their body is there and `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.told: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/early":
            message = await receive()
            self.told.append(message["type"])
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def api() -> Api:
    return Api()


async def test_a_connection_is_idle_from_a_reply_until_the_next_byte(api: Api) -> None:
    _, protocol = connected(unwrapped(api))
    assert protocol.timeout_keep_alive_task is None
    protocol.data_received(head(start="GET /early HTTP/1.1"))
    await until(lambda: protocol.timeout_keep_alive_task)
    protocol.data_received(b"G")
    assert protocol.timeout_keep_alive_task is None
    protocol.connection_lost(None)


async def test_a_connection_is_not_idle_while_a_request_runs_that_came_with_the_rest_of_another(api: Api) -> None:
    _, protocol = connected(unwrapped(api))
    protocol.data_received(head(LENGTH, start="POST /early HTTP/1.1"))
    await until(lambda: protocol.timeout_keep_alive_task)
    protocol.data_received(SMUGGLED + GET)
    await until(lambda: api.told == ["http.request"])
    assert protocol.timeout_keep_alive_task is None
    api.go.set()
    await until(lambda: protocol.timeout_keep_alive_task)
    protocol.connection_lost(None)


async def test_an_application_is_told_that_a_body_will_not_be_whole_and_the_rest_is_read_away(api: Api) -> None:
    wire, protocol = connected(unwrapped(api))
    api.go.set()
    protocol.data_received(head(BY_CHUNKS))
    await asyncio.sleep(0)
    protocol.data_received(b"%x\r\n" % 100_000 + b"x" * 100_000)
    assert not wire.readable.is_set()
    protocol.data_received(b"no chunk")
    assert wire.readable.is_set()
    await until(lambda: api.told == ["http.disconnect"])
    assert wire.received.startswith(b"HTTP/1.1 400 ")
    assert wire.received.count(b"HTTP/1.1") == 1
    protocol.connection_lost(None)


@pytest.mark.parametrize("said", [b"", GET[:10]])
async def test_a_connection_that_waits_for_a_head_is_closed_when_it_is_found_so_twice(said: bytes) -> None:
    wire, protocol = connected(unwrapped(silent))
    protocol.data_received(said)
    protocol._look()  # noqa: SLF001 - what its timer does
    assert not wire.closed
    protocol._look()  # noqa: SLF001
    assert wire.closed
    protocol.connection_lost(None)


async def test_a_lost_connection_leaves_no_timer_behind() -> None:
    _, protocol = connected(unwrapped(silent))
    timer = protocol._timer  # noqa: SLF001
    assert timer is not None
    protocol.connection_lost(None)
    assert timer.cancelled()


async def test_a_request_whose_client_is_gone_is_told_also_while_others_wait_for_its_reply() -> None:
    told: list[str] = []

    async def listens(_scope: object, receive: Any, send: Any) -> None:
        told.extend([(await receive())["type"] for _ in range(2)])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"for nobody"})
        told.append("sent")

    wire, protocol = connected(unwrapped(listens))
    protocol.data_received(GET + GET)
    await asyncio.sleep(0)
    protocol.connection_lost(ConnectionResetError())
    await until(lambda: told == ["http.request", "http.disconnect", "sent"])
    assert not protocol.tasks
    assert wire.received == b""


async def test_a_refused_client_has_so_long_to_read_and_no_longer() -> None:
    wire, protocol = connected(unwrapped(silent))
    looking = protocol._timer  # noqa: SLF001
    protocol.data_received(head(host=None))
    closing = protocol._timer  # noqa: SLF001
    assert looking is not None
    assert closing is not None
    assert looking.cancelled()
    assert 0 < closing.when() - asyncio.get_running_loop().time() <= LINGER
    assert not wire.closed
    protocol.connection_lost(None)
    assert closing.cancelled()


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
