"""Bodies that come slowly, and who has to wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from servers.asgi import Call, WholeEdge, call
from servers.waiting import until
from slipway.edge import exchange as exchange_module
from slipway.edge.load import Load
from slipway.settings import Settings

JSON = {"Content-Type": "application/json", "Content-Length": "10"}


class SlowCall(Call):
    """A client that sends its body when it is told to."""

    def __init__(self, app: Any, client: str) -> None:
        super().__init__(app, "POST", "/items", headers=JSON, client=client)
        self.go = asyncio.Event()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            await self.go.wait()
            self._asked = True
            return {"type": "http.request", "body": b'{"a": 123}', "more_body": False}
        return await super()._receive()


class Api:
    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.app = app = FastAPI()

        @app.post("/items")
        async def create(document: dict[str, Any]) -> dict[str, Any]:
            await self.go.wait()
            return document

        @app.get("/items")
        async def read() -> None:
            await self.go.wait()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def whole(api: Api) -> AsyncIterator[WholeEdge]:
    whole = WholeEdge(api.app, Settings(max_concurrency=2))
    async with whole.edge.serving():
        yield whole


async def _send_slowly(whole: WholeEdge, number: int, client: str = "203.0.113.7") -> list[SlowCall]:
    calls = [SlowCall(whole.edge, client) for _ in range(number)]
    before = whole.edge.in_flight
    for one in calls:
        one.start()
    await until(lambda: whole.edge.in_flight == before + number)
    return calls


async def _finish(calls: list[SlowCall]) -> list[int]:
    """One after another, so that each finds a place."""
    for one in calls:
        one.go.set()
        await one.reply()
    return [one.status for one in calls]


async def test_slow_bodies_take_no_place_from_other_requests(whole: WholeEdge) -> None:
    calls = await _send_slowly(whole, 16)
    assert (await call(whole.edge, path="/items")).status == 200
    assert await _finish(calls) == [200] * 16


async def test_if_waiting_counted_as_working_slow_bodies_would_shut_everybody_out(
    whole: WholeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Load, "begin_waiting", lambda *_: None)
    monkeypatch.setattr(Load, "end_waiting", lambda *_: None)
    calls = await _send_slowly(whole, 2)
    assert (await call(whole.edge, path="/items")).status == 503
    await _finish(calls)


async def test_one_client_waits_with_a_quarter_of_all_bodies_and_others_still_can(whole: WholeEdge) -> None:
    calls = await _send_slowly(whole, 16)
    refused = await SlowCall(whole.edge, "203.0.113.7").reply()
    assert (refused.status, refused.json["error"], refused.headers["retry-after"]) == (429, "rate_limited", "1")
    others = await _send_slowly(whole, 1, "203.0.113.8")
    assert await _finish([*others, *calls]) == [200] * 17
    again = await _send_slowly(whole, 16)
    assert await _finish(again) == [200] * 16


async def test_all_clients_together_wait_with_no_more_bodies_than_the_bound(whole: WholeEdge) -> None:
    calls = [one for number in range(4) for one in await _send_slowly(whole, 16, f"203.0.113.{number}")]
    refused = await SlowCall(whole.edge, "203.0.113.77").reply()
    assert (refused.status, refused.json["error"]) == (503, "unavailable")
    assert await _finish(calls) == [200] * 64


async def test_a_body_that_got_whole_while_the_process_was_busy_is_turned_away(whole: WholeEdge, api: Api) -> None:
    slow = await _send_slowly(whole, 1)
    api.go.clear()
    running = [Call(whole.edge, path="/items").start() for _ in range(2)]
    await until(lambda: whole.edge.in_flight == 3)
    assert await _finish(slow) == [503]
    api.go.set()
    assert [(await one.reply()).status for one in running] == [200, 200]


async def test_without_asking_again_more_would_be_worked_on_than_may(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = await _send_slowly(whole, 1)
    api.go.clear()
    running = [Call(whole.edge, path="/items").start() for _ in range(2)]
    await until(lambda: whole.edge.in_flight == 3)
    monkeypatch.setattr(Load, "check", lambda _: None)
    slow[0].go.set()
    with pytest.raises(AssertionError, match="Not seen"):
        await until(lambda: slow[0].sent, within=0.2)
    api.go.set()
    assert await _finish(slow) == [200]
    assert [(await one.reply()).status for one in running] == [200, 200]


async def test_a_body_must_be_whole_before_its_own_deadline(whole: WholeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "BODY_TIMEOUT", 0.1)
    (late,) = await _send_slowly(whole, 1)
    await late.reply()
    assert (late.status, late.json["error"]) == (503, "deadline_exceeded")
    assert "body" in late.json["message"]
    assert whole.edge.in_flight == 0


async def test_work_after_the_body_has_the_longer_deadline_of_the_request(
    whole: WholeEdge, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "BODY_TIMEOUT", 0.5)
    api.go.clear()
    (quick,) = await _send_slowly(whole, 1)
    quick.go.set()
    with pytest.raises(AssertionError, match="Not seen"):
        await until(lambda: quick.sent, within=0.8)
    api.go.set()
    assert (await quick.reply()).status == 200
