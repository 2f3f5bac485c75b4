"""What whoever runs the edge is told, beside what clients are: a line of the right level, once, and a count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import exc as sqlalchemy_errors
from starlette.requests import ClientDisconnect

from servers.asgi import Call, WholeEdge, call
from servers.raw_requests import head
from servers.told import counted, records, said
from servers.waiting import until
from servers.wire import connected, unwrapped
from slipway.edge.sweeper import Sweeper
from slipway.http.problems import ConflictError
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY


class Api:
    """An application that does what a test wants."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.app = app = FastAPI()

        @app.get("/raise")
        async def fail() -> None:
            if self.error is not None:
                raise self.error

        @app.get("/for-ever")
        async def wait() -> None:
            await asyncio.Event().wait()

        @app.post("/body")
        async def body(request: Request) -> int:
            return len(await request.body())


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def whole(api: Api) -> AsyncIterator[WholeEdge]:
    made = WholeEdge(api.app, Settings(request_deadline=0.05))
    async with made.edge.serving():
        yield made


async def test_a_missed_deadline_is_a_warning(whole: WholeEdge, caplog: pytest.LogCaptureFixture) -> None:
    assert (await call(whole.edge, path="/for-ever")).status == 503
    assert said(caplog, "slipway.edge") == [("WARNING", "The request passed its deadline.")]


async def test_a_full_pool_is_counted_as_one_and_a_database_that_is_away_is_not(
    whole: WholeEdge, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    full, away = sqlalchemy_errors.TimeoutError("QueuePool limit"), ConnectionRefusedError(111, "refused: hush")
    for error, times in ((full, 1), (away, 0)):
        api.error = error
        with counted("slipway_pool_timeouts_total", times):
            assert (await call(whole.edge, path="/raise")).status == 503
    assert said(caplog, "slipway.edge") == [("WARNING", "The request failed for now.")] * 2
    assert [record.__dict__["error"] for record in records(caplog, "slipway.edge")] == [
        "TimeoutError",
        "ConnectionRefusedError",
    ]
    assert "hush" not in caplog.text


async def test_a_fault_of_ours_is_an_error_and_a_clients_is_no_line_at_all(
    whole: WholeEdge, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ConflictError("Taken.")
    await call(whole.edge, path="/raise")
    assert said(caplog, "slipway.edge") == []
    api.error = KeyError("bug")
    await call(whole.edge, path="/raise")
    assert said(caplog, "slipway.edge") == [("ERROR", "The request failed by a fault of ours.")]


async def test_an_application_without_a_reply_is_an_error_unless_its_client_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def silent(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    whole = WholeEdge(FastAPI(), Settings())
    whole.edge._guard.enter = silent  # noqa: SLF001 - no framework would be so silent
    assert (await call(whole.edge, path="/")).status == 500
    assert said(caplog, "slipway.edge") == [("ERROR", "The application gave no reply.")]
    gone = Call(whole.edge, "POST", headers={"Content-Length": "9"})
    gone._asked = True  # noqa: SLF001 - nothing of the body ever comes
    gone.hang_up()
    assert (await gone.reply()).sent == []
    assert [line["status"] for line in whole.access()] == [500, 499]
    assert len(said(caplog, "slipway.edge")) == 1


async def test_a_client_that_goes_away_while_its_body_is_read_is_499_and_no_fault(
    whole: WholeEdge, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ClientDisconnect()
    reply = await call(whole.edge, path="/raise")
    assert reply.sent == []
    assert [line["status"] for line in whole.access()] == [499]
    assert said(caplog, "slipway.edge") == []


async def test_a_sweep_that_fails_is_an_error_with_its_traceback(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    def failing(_self: Sweeper, _now: float) -> None:
        failed.set()
        raise RuntimeError("once more")

    monkeypatch.setattr(Sweeper, "sweep", failing)
    async with WholeEdge(api.app, Settings()).edge.serving():
        await asyncio.wait_for(failed.wait(), 5)
    assert said(caplog, "slipway.edge")[0] == ("ERROR", "Sweeping the requests in flight failed; it goes on.")
    assert records(caplog, "slipway.edge")[0].exc_info is not None


async def test_how_late_the_event_loop_is_is_measured_at_every_look(api: Api) -> None:
    def seen(name: str) -> float:
        return REGISTRY.get_sample_value(f"slipway_event_loop_lag_seconds_{name}") or 0.0

    looks, late = seen("count"), seen("sum")
    async with WholeEdge(api.app, Settings()).edge.serving():
        await until(lambda: seen("count") >= looks + 2)
    assert 0.0 <= seen("sum") - late < 5.0


async def test_requests_in_progress_are_those_without_an_end(whole: WholeEdge) -> None:
    running = Call(whole.edge, path="/for-ever").start()
    await until(lambda: REGISTRY.get_sample_value("http_requests_in_progress") == 1)
    await running.reply()
    assert REGISTRY.get_sample_value("http_requests_in_progress") == 0


async def test_what_is_refused_before_it_is_a_request_is_a_warning_with_the_id_that_the_client_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError("must not be asked")

    wire, protocol = connected(unwrapped(never))
    protocol.data_received(head(host=None))
    assert said(caplog, "slipway.edge") == [("WARNING", "A request was refused before it was one.")]
    [record] = records(caplog, "slipway.edge")
    assert record.__dict__["error"] == "bad_request"
    assert f"x-request-id: {record.__dict__['request_id']}".encode() in wire.received
    protocol.connection_lost(None)


async def test_a_request_is_said_to_have_taken_as_long_as_it_did(whole: WholeEdge) -> None:
    began = monotonic()
    await call(whole.edge, path="/for-ever")
    took = (monotonic() - began) * 1000
    [line] = whole.access()
    assert 49 <= line["duration_ms"] <= took


async def test_lines_that_wait_for_others_are_written_when_it_ends(api: Api) -> None:
    whole = WholeEdge(api.app, Settings())
    async with whole.edge.serving():
        await call(whole.edge, path="/nowhere")
        assert whole.stream.access() == [], "it waits for its neighbours"
    assert [line["path"] for line in whole.stream.access()] == ["/nowhere"]
