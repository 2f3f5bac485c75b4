"""How long a call of the API server takes, how often it is tried, how much is read, in time that passes by itself."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import kopf
import pytest

from slipway_operator.cluster import PODS, Api, ApiError, UnreachableError
from slipway_operator.connections import Connections

MIB = 1024 * 1024
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None


class Shortest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Calls:
    """In place of connections. Answers one call after another, the last answer for ever; None hangs up."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.at: list[float] = []
        self.timeouts: list[aiohttp.ClientTimeout] = []

    def api(self, jitter: random.Random | None = None) -> Api:
        made = Api(lambda: kopf.ConnectionInfo(server="http://api", token="t"), jitter=jitter or Shortest())
        made._connections = cast("Connections", SimpleNamespace(calls=self, watches=self))  # noqa: SLF001 - no network
        return made

    def get(self, url: str, **options: Any) -> Any:
        return self.request("GET", url, **options)

    @asynccontextmanager
    async def request(self, _: str, __: str, **options: Any) -> AsyncIterator[Any]:
        self.at.append(round(asyncio.get_running_loop().time(), 3))
        self.timeouts.append(options["timeout"])
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if told is None:
            raise aiohttp.ClientConnectionError
        status, body, *headers = told
        parts = body if isinstance(body, list) else [json.dumps(body).encode()]
        yield SimpleNamespace(
            status=status, ok=status < 400, headers=headers[0] if headers else {}, content=_Content(parts)
        )


class _Content:
    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    async def iter_any(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


@pytest.mark.parametrize(("jitter", "at"), [(Shortest(), [0, 0.2, 0.6, 1.4]), (Longest(), [0, 0.3, 0.9, 2.1])])
def test_a_read_is_tried_four_times_with_pauses_that_double_and_differ_by_half(
    in_no_time: Run, jitter: random.Random, at: list[float]
) -> None:
    calls = Calls(None)
    with pytest.raises(UnreachableError):
        in_no_time(calls.api(jitter).get(PODS, "shop", "a"))
    assert calls.at == at


@pytest.mark.parametrize(("asked", "pause"), [("3", 3.0), ("5", 5.0), ("60", 5.0), ("soon", 0.2), ("", 0.2)])
def test_a_server_that_asks_for_a_pause_gets_one_of_five_seconds_at_most(
    in_no_time: Run, asked: str, pause: float
) -> None:
    calls = Calls((429, {}, {"Retry-After": asked}), (200, {}))
    in_no_time(calls.api().create(PODS, "shop", {}))
    assert calls.at == [0, pause]


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (429, 4), (499, 1), (500, 4), (503, 4)])
def test_a_read_is_repeated_after_faults_of_the_server_alone(in_no_time: Run, status: int, tries: int) -> None:
    calls = Calls((status, {"message": "m" * 2000}))
    with pytest.raises(ApiError) as raised:
        in_no_time(calls.api().get(PODS, "shop", "a"))
    assert (len(calls.at), raised.value.status) == (tries, status)
    assert len(str(raised.value)) == 1024


def test_a_call_may_take_twenty_seconds_five_of_them_to_connect_and_less_where_that_is_asked_for(
    in_no_time: Run,
) -> None:
    calls = Calls((200, {}))
    api = calls.api()

    async def story() -> None:
        await api.get(PODS, "shop", "a")
        await api.get(PODS, "shop", "a", seconds=3.0)
        await api.list(PODS, "shop")
        api.guard = cast("Any", SimpleNamespace(left=lambda _: 7.5))
        await api.create(PODS, "shop", {})
        await api.replace(PODS, "shop", {"metadata": {"name": "a"}}, seconds=5.0)
        api.guard = cast("Any", SimpleNamespace(left=lambda _: 99.0))
        await api.create(PODS, "shop", {})

    in_no_time(story())
    assert [timeout.total for timeout in calls.timeouts] == [20, 3, 20, 7.5, 5, 20]
    assert {timeout.sock_connect for timeout in calls.timeouts} == {5}


def test_a_watch_is_waited_for_as_long_as_a_call_beyond_its_end(in_no_time: Run) -> None:
    calls = Calls((200, []))

    async def story() -> int:
        return len([None async for _ in calls.api().changes(PODS, "shop", "a", seconds=600)])

    assert in_no_time(story()) == 1
    assert [(timeout.total, timeout.sock_connect) for timeout in calls.timeouts] == [(620, 5)]


def test_a_list_ends_after_forty_pages_of_250(in_no_time: Run) -> None:
    page: Answer = (200, {"metadata": {"continue": "more"}, "items": [{}]})
    last: Answer = (200, {"metadata": {}, "items": [{}]})
    assert len(in_no_time(Calls(*[page] * 39, last).api().list(PODS, "shop"))) == 40
    calls = Calls(page)
    with pytest.raises(ApiError, match="more than 10000 objects") as raised:
        in_no_time(calls.api().list(PODS, "shop"))
    assert (len(calls.at), raised.value.reason, raised.value.status) == (40, "TooMany", 0)


def test_an_answer_of_32_mebibytes_is_read_and_one_of_a_byte_more_is_broken_off(in_no_time: Run) -> None:
    whole = [b"x" * MIB] * 32
    assert in_no_time(Calls((200, whole)).api().log("shop", "pod", container="a", limit=5)) == "xxxxx"
    with pytest.raises(ApiError, match="larger than 32 MiB") as raised:
        in_no_time(Calls((200, [*whole, b"x"])).api().log("shop", "pod", container="a", limit=5))
    assert (raised.value.reason, raised.value.status) == ("TooLarge", 0)


async def test_sixteen_calls_have_a_connection_at_a_time_and_watches_as_many_as_they_want() -> None:
    async with Api(lambda: kopf.ConnectionInfo(server="http://api", token="t")) as api:
        calls, watches = api._connections.calls.connector, api._connections.watches.connector  # noqa: SLF001
        assert calls is not None
        assert watches is not None
        assert (calls.limit, watches.limit) == (16, 0)
