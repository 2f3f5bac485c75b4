"""How many pods are asked at a time, for how long, and how much of an answer is read: in time that passes by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from slipway_operator.evidence.asking import Asking, open_http
from slipway_operator.evidence.consumers import Consumers, Endpoint
from unit.operator.memory_api import MemoryApi
from unit.operator.test_asking import pod

Run = Callable[[Coroutine[Any, Any, Any]], Any]
KIB = 1024


class Pods:
    """In place of HTTP. Each answer takes `takes` seconds; `tells`: body by the number of the question."""

    def __init__(self, status: int = 200, takes: float = 1.0, tells: Callable[[int], bytes] = lambda _: b"{}") -> None:
        self.status, self.takes, self.tells = status, takes, tells
        self.asked = self.now = self.most = 0

    @asynccontextmanager
    async def get(self, url: str, **_: Any) -> AsyncIterator[Any]:
        assert url.endswith(":9090/keys")
        number, self.asked = self.asked, self.asked + 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes)
            content = SimpleNamespace(iter_any=lambda: self._chunks(number))
            yield SimpleNamespace(status=self.status, headers={}, content=content)
        finally:
            self.now -= 1

    async def _chunks(self, number: int) -> AsyncIterator[bytes]:
        body = self.tells(number)
        for start in range(0, len(body), KIB):
            yield body[start : start + KIB]

    async def ask(self, *names: str) -> Consumers:
        cluster = MemoryApi()
        for name in names:
            cluster.put("pods", pod(name))
        asking = Asking(cluster, cast("aiohttp.ClientSession", self))
        return await asking.ask("ships", "keys", Endpoint("app=ships"))


def faults(consumers: Consumers) -> set[str]:
    return {report.fault for report in consumers.reports}


def test_thirty_two_pods_are_asked_at_a_time(in_no_time: Run) -> None:
    pods = Pods()
    found = in_no_time(pods.ask(*(f"p{n:03}" for n in range(100))))
    assert (pods.most, pods.asked, faults(found)) == (32, 100, {""})


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (200, ""),
        (201, "BadStatus"),
        (299, "BadStatus"),
        (300, "Redirected"),
        (399, "Redirected"),
        (400, "BadStatus"),
        (403, "BadStatus"),
    ],
)
def test_only_200_is_an_answer_and_each_redirect_is_told(in_no_time: Run, status: int, fault: str) -> None:
    assert faults(in_no_time(Pods(status).ask("a"))) == {fault}


@pytest.mark.parametrize(("size", "fault"), [(64 * KIB, ""), (64 * KIB + 1, "TooLarge")])
def test_of_an_answer_64_kibibytes_are_read(in_no_time: Run, size: int, fault: str) -> None:
    pods = Pods(tells=lambda _: b"{}" + b" " * (size - 2))
    assert faults(in_no_time(pods.ask("a"))) == {fault}


def process(name: int, of: int) -> bytes:
    return json.dumps({"process": name, "processes": of}).encode()


@pytest.mark.parametrize(("of", "wave", "questions"), [(2, 2, 48), (3, 3, 108), (8, 8, 768), (9, 8, 864)])
def test_each_of_several_processes_is_asked_for_twelve_times_in_waves_of_eight_at_most(
    in_no_time: Run, of: int, wave: int, questions: int
) -> None:
    pods = Pods(takes=0.001, tells=lambda _: process(0, of))
    found = in_no_time(pods.ask("a"))
    assert (pods.asked, pods.most) == (1 + questions, wave)
    assert "ProcessesUnheard" in faults(found)
    assert {report.detail for report in found.reports if report.fault} == {f"1 heard of {of}"}


def test_hearing_all_processes_takes_four_seconds_at_most(in_no_time: Run) -> None:
    pods = Pods(takes=0.5, tells=lambda _: process(0, 2))

    async def story() -> float:
        assert "ProcessesUnheard" in faults(await pods.ask("a"))
        return asyncio.get_running_loop().time()

    assert in_no_time(story()) == 0.5 + 4


def test_processes_that_all_answer_are_heard_twice(in_no_time: Run) -> None:
    pods = Pods(takes=0.001, tells=lambda number: process(number % 3, 3))
    found = in_no_time(pods.ask("a"))
    assert (faults(found), pods.asked, len(found.reports)) == ({""}, 1 + 2 * 3, 3)


def test_one_of_a_single_process_is_asked_once(in_no_time: Run) -> None:
    pods = Pods(tells=lambda _: process(0, 1))
    assert faults(in_no_time(pods.ask("a"))) == {""}
    assert pods.asked == 1


async def test_an_answer_is_waited_for_two_seconds_and_no_connection_is_used_again() -> None:
    async with open_http() as http:
        connector = http.connector
        assert connector is not None
        assert (http.timeout.total, connector.limit, connector.force_close) == (2, 0, True)
        assert not http.trust_env
