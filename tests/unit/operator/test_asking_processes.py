"""A pod whose port several processes share: which of them answers the kernel chooses, and here the handler does."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from slipway_operator.evidence import asking
from slipway_operator.evidence.asking import Asking, open_http
from slipway_operator.evidence.consumers import Consumers, Endpoint, Report, following
from unit.operator.memory_api import MemoryApi
from unit.operator.test_asking import pod

Answers = Iterator[dict[str, Any] | None]
"""Of one connection after the other; None: that process hangs up."""


class Pod:
    def __init__(self) -> None:
        self.answers: Answers = iter(())
        self.connections = 0
        self.port = 0
        self.handle = self.one_after_the_other

    async def reply(self, request: web.Request) -> web.StreamResponse:
        return await self.handle(request)

    async def one_after_the_other(self, request: web.Request) -> web.Response:
        self.connections += 1
        told = next(self.answers)
        if told is None:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(told)


@pytest.fixture
async def serving() -> AsyncIterator[Pod]:
    found = Pod()
    app = web.Application()
    app.router.add_get("/keys", found.reply)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
async def heard(serving: Pod) -> AsyncIterator[Callable[[Answers], Any]]:
    api = MemoryApi()
    api.put("pods", pod("a"))
    async with open_http() as http:

        async def look(answers: Answers) -> Consumers:
            serving.answers = answers
            return await Asking(api, http).ask("ships", "keys", Endpoint("", serving.port))

        yield look


def told(process: str | int, processes: int = 3, **changes: Any) -> dict[str, Any]:
    return {"keys": ["k1", "k2"], "signing": "k1", "process": process, "processes": processes, **changes}


def by_chance(*documents: dict[str, Any] | None) -> Answers:
    chance = random.Random(7)  # noqa: S311 - whom the kernel chooses
    return iter(lambda: chance.choice(documents), object())


def unheard(consumers: Consumers) -> list[str]:
    return [report.detail for report in consumers.reports if report.fault == "ProcessesUnheard"]


def behind(consumers: Consumers) -> list[tuple[str, str]]:
    found = following(consumers, lambda report: "" if report.signing == "k1" else "SignsWithOther")
    return [(one.pod, one.reason) for one in found.lagging]


async def test_a_pod_follows_when_each_of_its_processes_was_heard(heard: Any, serving: Pod) -> None:
    found = await heard(by_chance(told("x"), told("y"), told("z")))
    assert (unheard(found), behind(found), found.pods) == ([], [], ("a",))
    assert following(found, lambda _: "").heard == 1
    assert serving.connections > 6, "each twice, or one that was replaced would go unnoticed"


async def test_one_process_that_lags_makes_the_pod_lag_whoever_answers_first(heard: Any) -> None:
    late = told("z", signing="k0", token_lifetime=1800, database_role="old")
    found = await heard(by_chance(told("x"), told("y"), late))
    assert behind(found) == [("a", "SignsWithOther")]
    assert {report.signing for report in found.reports} == {"k0", "k1"}
    assert max(report.token_lifetime for report in found.reports) == 1800
    assert {report.database_role for report in found.reports} == {"", "old"}


async def test_one_process_alone_is_asked_once_whether_it_says_so_or_not(heard: Any, serving: Pod) -> None:
    for document in (told("x", 1), {"keys": ["k1", "k2"], "signing": "k1"}):
        serving.connections = 0
        found = await heard(iter([document]))
        assert found.reports == (Report("a", keys=frozenset({"k1", "k2"}), signing="k1"),)
        assert serving.connections == 1


async def test_a_process_that_never_answers_is_lagging_and_counted(heard: Any, serving: Pod) -> None:
    found = await heard(by_chance(told("x"), told("y"), None))
    assert unheard(found) == ["2 heard of 3"]
    assert behind(found) == [("a", "ProcessesUnheard")]
    assert serving.connections <= 2 * (1 + asking.WAVES_A_PROCESS * 3 * 3), "aiohttp asks again where one hangs up"


async def test_where_only_one_answers_again_and_again_the_rest_are_missed(heard: Any) -> None:
    assert unheard(await heard(itertools.repeat(told("x", 4)))) == ["1 heard of 4"]


async def test_processes_that_differ_in_their_number_are_held_to_the_largest(heard: Any) -> None:
    assert unheard(await heard(by_chance(told("x", 2), told("y", 3)))) == ["2 heard of 3"]


async def test_a_process_that_was_replaced_meanwhile_is_not_taken_for_one_of_all(heard: Any) -> None:
    """Two of two were heard, one of them has gone since, and another that never was asked may have old keys."""
    answers = itertools.chain([told("gone", 2), told("gone", 2), told("x", 2)], itertools.repeat(told("x", 2)))
    assert unheard(await heard(answers)) == ["2 heard of 2"]


async def test_numbers_of_processes_do_for_names(heard: Any) -> None:
    assert unheard(await heard(by_chance(told(17, 2), told(18, 2)))) == []


async def test_a_process_that_changes_its_mind_while_it_is_asked_is_held_to_both(heard: Any) -> None:
    answers = itertools.chain([told("x", 2, signing="k0")], itertools.cycle([told("x", 2), told("y", 2)]))
    assert behind(await heard(answers)) == [("a", "SignsWithOther")]


async def test_hearing_all_takes_no_longer_than_its_limit(heard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PROCESSES_SECONDS", 0.0)
    assert unheard(await heard(by_chance(told("x"), told("y"), told("z")))) == ["1 heard of 3"]


async def test_a_process_that_is_heard_while_another_is_not_still_tells_what_it_signs_with(heard: Any) -> None:
    found = await heard(by_chance(told("x", 2, signing="k0"), None))
    assert {report.signing for report in found.reports if not report.fault} == {"k0"}
    assert behind(found) == [("a", "SignsWithOther")], "what is known goes before what isn't"


async def test_several_are_asked_at_a_time_or_the_quickest_alone_would_answer(
    heard: Any, serving: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where workers sleep on one socket: the second wakes for a connection that comes while the first is busy."""
    busy: list[asyncio.Event] = []

    async def reply(_: web.Request) -> web.Response:
        if busy:
            busy[0].set()
            return web.json_response(told("slow", 2))
        busy.append(asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await busy[0].wait()
        busy.clear()
        return web.json_response(told("quick", 2))

    monkeypatch.setattr(serving, "handle", reply)
    assert unheard(await heard(iter(()))) == []
    monkeypatch.setattr(asking, "LARGEST_WAVE", 1)
    assert unheard(await heard(iter(()))) == ["1 heard of 2"]
