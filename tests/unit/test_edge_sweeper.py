"""Deadlines, and clients that went away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from servers.asgi import Call, WholeEdge, call
from servers.waiting import until
from slipway.context.deadline import remaining
from slipway.edge import sweeper as sweeper_module
from slipway.edge.sweeper import Sweeper
from slipway.settings import Settings


class Api:
    """Handlers that wait for `go`, and tell how they ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.ended: list[str] = []
        self.left: float | None = None
        self.app = app = FastAPI()

        @app.get("/slow")
        async def slow() -> str:
            self.left = remaining()
            return await self._wait()

        @app.post("/body")
        async def body(request: Request) -> str:
            await request.body()
            return await self._wait()

        @app.get("/late-reader")
        async def late(request: Request) -> int:
            await self.go.wait()
            return len(await request.body())

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(self._parts())

    async def _wait(self) -> str:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return "done"

    async def _parts(self) -> AsyncIterator[bytes]:
        yield b"part"
        await self._wait()


@pytest.fixture
def api() -> Api:
    return Api()


def edge(api: Api, **settings: float) -> WholeEdge:
    return WholeEdge(api.app, Settings.model_validate(settings))


async def test_a_request_past_its_deadline_is_503_and_its_handler_is_stopped(api: Api) -> None:
    whole = edge(api, request_deadline=0.05)
    async with whole.edge.serving():
        reply = await call(whole.edge, path="/slow")
    assert (reply.status, reply.json["error"]) == (503, "deadline_exceeded")
    assert api.ended == ["cancelled"]
    assert whole.access()[0]["status"] == 503


async def test_without_the_sweeper_a_request_outlives_its_deadline(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeper, "sweep", lambda *_: None)
    whole = edge(api, request_deadline=0.05)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/slow").start()
        await asyncio.wait([running.task or asyncio.create_task(running.reply())], timeout=0.4)
        api.go.set()
        assert (await running.reply()).status == 200


async def test_the_deadline_is_known_to_what_the_handler_calls(api: Api) -> None:
    whole = edge(api, request_deadline=5)
    api.go.set()
    await call(whole.edge, path="/slow")
    assert api.left is not None
    assert 4 < api.left <= 5


async def test_a_deadline_is_what_the_setting_says_after_the_request_came(api: Api) -> None:
    whole = edge(api, request_deadline=5, stream_deadline=60)
    running = Call(whole.edge, path="/slow").start()
    await until(lambda: whole.edge.in_flight)
    [exchange] = whole.edge._sweeper.in_flight  # noqa: SLF001 - the request itself
    assert exchange.deadline - exchange.started == pytest.approx(5)
    api.go.set()
    await running.reply()
    assert 59 < exchange.deadline - exchange.started < 66


@pytest.mark.parametrize(("early", "cancelled"), [(0.001, False), (0.0, True), (-0.001, True)])
async def test_a_sweep_cancels_what_is_due_and_nothing_before(api: Api, early: float, *, cancelled: bool) -> None:
    whole = edge(api, request_deadline=5)
    running = Call(whole.edge, path="/slow").start()
    await until(lambda: whole.edge.in_flight)
    [exchange] = whole.edge._sweeper.in_flight  # noqa: SLF001 - the request itself
    whole.edge._sweeper.sweep(exchange.deadline - early)  # noqa: SLF001 - at a moment of ours
    assert (exchange.cancelled is not None) is cancelled
    api.go.set()
    await running.reply()


async def test_a_stream_past_its_own_deadline_is_broken_off(api: Api) -> None:
    whole = edge(api, request_deadline=5, stream_deadline=0.05)
    async with whole.edge.serving():
        reply = await call(whole.edge, path="/stream")
    assert (reply.status, reply.body, reply.complete) == (200, b"part", False)
    assert api.ended == ["cancelled"]


async def test_a_stream_may_go_on_beyond_the_deadline_of_the_request(api: Api) -> None:
    whole = edge(api, request_deadline=0.05, stream_deadline=60)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/stream").start()
        await asyncio.wait([running.task or asyncio.create_task(running.reply())], timeout=0.3)
        api.go.set()
        reply = await running.reply()
    assert reply.complete


@pytest.mark.parametrize("details", [{"path": "/slow"}, {"method": "POST", "path": "/body", "chunks": [b"abc"]}])
async def test_a_client_that_goes_away_frees_its_handler(api: Api, details: dict[str, object]) -> None:
    whole = edge(api)
    headers = {"Content-Length": "3"} if "chunks" in details else {}
    async with whole.edge.serving():
        running = Call(whole.edge, **details, headers=headers).start()  # type: ignore[arg-type]
        await until(lambda: whole.edge.in_flight == 1)
        running.hang_up()
        await running.reply()
    assert api.ended == ["cancelled"]
    assert running.sent == []
    assert whole.access()[0]["status"] == 499


async def test_without_watching_a_handler_works_on_for_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "_should_watch", lambda *_: False)
    whole = edge(api)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/slow").start()
        await until(lambda: whole.edge.in_flight == 1)
        running.hang_up()
        await asyncio.wait([running.task or asyncio.create_task(running.reply())], timeout=0.4)
        assert api.ended == []
        api.go.set()
        await running.reply()


async def test_a_client_that_goes_away_before_its_body_is_whole_is_499(api: Api) -> None:
    whole = edge(api)
    headers = {"Content-Length": "9"}
    async with whole.edge.serving():
        running = Call(whole.edge, "POST", "/body", headers=headers)
        running._asked = True  # noqa: SLF001 - nothing of the body ever comes
        running.hang_up()
        await running.reply()
    assert running.sent == []
    assert whole.access()[0]["status"] == 499


async def test_a_handler_that_reads_late_still_gets_what_the_watcher_took(api: Api) -> None:
    whole = edge(api)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/late-reader").start()
        await until(lambda: any(task.get_name() == "slipway-watch-client" for task in asyncio.all_tasks()))
        api.go.set()
        reply = await running.reply()
    assert (reply.status, reply.json) == (200, 0)


async def test_a_real_cancellation_stays_one_and_the_client_is_told(api: Api) -> None:
    whole = edge(api)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/slow").start()
        await until(lambda: whole.edge.in_flight == 1)
        assert running.task is not None
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
    assert (running.status, running.json["error"]) == (503, "unavailable")
    assert [line["status"] for line in whole.access()] == [503]
    assert whole.edge.in_flight == 0


async def test_who_has_no_reply_when_the_process_gives_up_is_told_and_a_reply_that_has_begun_is_broken_off(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    whole = edge(api)
    async with whole.edge.serving():
        waiting = Call(whole.edge, path="/slow", headers={"X-Request-ID": "find-me"}).start()
        streaming = Call(whole.edge, path="/stream").start()
        await until(lambda: len(streaming.sent) > 1)
        whole.edge.give_up()
        await asyncio.gather(waiting.reply(), streaming.reply())
    assert (waiting.status, waiting.json["error"], waiting.json["request_id"]) == (503, "unavailable", "find-me")
    assert "Look whether it was done" in waiting.json["message"]
    assert int(waiting.headers["retry-after"]) >= 1
    assert (streaming.status, streaming.body, streaming.complete) == (200, b"part", False)
    assert api.ended == ["cancelled"] * 2
    told = "The process stops before the request is done."
    assert [record.levelname for record in caplog.records if record.message == told] == ["WARNING"] * 2


async def test_a_shutdown_is_not_taken_for_a_missed_deadline(api: Api) -> None:
    whole = edge(api, request_deadline=0.05)
    async with whole.edge.serving():
        running = Call(whole.edge, path="/slow").start()
        await until(lambda: whole.edge.in_flight == 1)
        assert running.task is not None
        (exchange,) = whole.edge._sweeper.in_flight  # noqa: SLF001 - the moment when both happen
        exchange.deadline = monotonic()
        whole.edge._sweeper.sweep(monotonic())  # noqa: SLF001
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task


async def test_nothing_is_left_running(api: Api) -> None:
    before = asyncio.all_tasks()
    whole = edge(api, request_deadline=0.25)
    async with whole.edge.serving():
        await call(whole.edge, path="/slow")
        gone = Call(whole.edge, path="/slow").start()
        await until(lambda: whole.edge.in_flight == 1)
        gone.hang_up()
        await gone.reply()
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_sweep_that_fails_does_not_end_the_sweeper(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweeps: list[float] = []

    def failing(_: Sweeper, now: float) -> None:
        sweeps.append(now)
        raise RuntimeError("once more")

    monkeypatch.setattr(Sweeper, "sweep", failing)
    whole = edge(api)
    async with whole.edge.serving():
        await until(lambda: len(sweeps) > 1)
    assert "it goes on" in caplog.text
