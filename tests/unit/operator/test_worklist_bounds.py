"""The bounds that a worklist has where nobody sets others, in time that passes by itself."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from slipway_operator import telemetry
from slipway_operator.worklist import Key, Worklist
from unit.operator.test_worklist import KEY, Looks, at_work, lasting, made

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def counted(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(f"slipway_operator_{name}", labels) or 0.0


def test_ten_thousand_resources_wait_and_one_more_is_refused_with_a_word(
    in_no_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> dict[str, int]:
        work = made(Looks())
        for number in range(10_001):
            work.wake(Key("SchemaMigration", "shop", f"m{number}"))
        work.wake(Key("SchemaMigration", "shop", "m7"))
        return work.waiting()

    before = counted("queue_refused_total")
    assert in_no_time(story())["now"] == 10_000
    assert counted("queue_refused_total") - before == 1
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "SchemaMigration shop/m10000 isn't looked at: 10000 resources wait already.",
    )


def test_a_look_may_take_two_minutes(in_no_time: Run) -> None:
    async def hangs(_: Key) -> float | None:
        await asyncio.Event().wait()
        return None

    looks = Looks(hangs)

    async def story() -> None:
        _work = at_work(looks, jitter=Longest())
        await asyncio.sleep(125)

    in_no_time(story())
    assert looks.times() == [0.0, 121.0]


def test_pauses_after_failures_double_from_a_second_to_a_minute_and_are_at_least_half_of_that(in_no_time: Run) -> None:
    async def fails(_: Key) -> float | None:
        raise ValueError

    for jitter, factor in ((Longest(), 1.0), (type("Half", (Longest,), {"uniform": lambda *_: 0.5})(), 0.5)):
        looks = Looks(fails)

        async def story(looks: Looks = looks, jitter: random.Random = jitter) -> None:
            work = made(looks, jitter=jitter)
            work.start()
            work.wake(KEY)
            await asyncio.sleep(400)

        in_no_time(story())
        pauses = [round((later - earlier) / factor, 2) for earlier, later in itertools.pairwise(looks.times())]
        assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_void_times_are_swept_out_beyond_sixteen_for_each_that_waits(in_no_time: Run) -> None:
    async def story() -> list[int]:
        work = made(Looks())
        lengths = []
        for number in range(100):
            work._schedule(KEY, 1000.0 - number)  # noqa: SLF001 - each makes the former void
            lengths.append(len(work._heap))  # noqa: SLF001 - a leak shows nowhere else
        return lengths

    lengths = in_no_time(story())
    assert lengths[:32] == list(range(1, 33))
    assert (lengths[32], max(lengths)) == (1, 32)


def test_one_that_is_gone_and_was_woken_during_its_look_is_not_looked_at_again(in_no_time: Run) -> None:
    looks = Looks(lasting(10))

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(1)
        work.wake(KEY)
        work.forget(KEY)
        await asyncio.sleep(100)

    in_no_time(story())
    assert looks.times() == [0.0]


def test_what_is_gone_has_failed_never_when_it_comes_back(in_no_time: Run, caplog: pytest.LogCaptureFixture) -> None:
    fails = [True, False]

    async def once(_: Key) -> float | None:
        if fails.pop(0):
            raise ValueError
        return None

    looks = Looks(once)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(0.1)
        work.forget(KEY)
        work.wake(KEY)
        await asyncio.sleep(0.1)

    in_no_time(story())
    assert looks.times() == [0.0, 0.1]  # without a pause, and nothing "works again"
    assert len(caplog.records) == 1


def test_looks_are_counted_and_timed_by_their_kind_and_end(in_no_time: Run) -> None:
    async def slow(key: Key) -> float | None:
        await asyncio.sleep(0)
        if key.name == "bad":
            raise ValueError
        return 5000.0

    async def story() -> None:
        work = Worklist({"Counted": Looks(slow)})
        work.start()
        work.wake(Key("Counted", "shop", "good"))
        work.wake(Key("Counted", "shop", "bad"))
        await asyncio.sleep(0.1)
        assert [counted("queue", state=state) for state in ("now", "later", "running")] == [0, 2, 0]

    in_no_time(story())
    assert counted("reconciles_total", kind="Counted", result="succeeded") == 1
    assert counted("reconciles_total", kind="Counted", result="failed") == 1
    assert counted("errors_total", kind="Counted", error="ValueError") == 1
    assert counted("reconcile_duration_seconds_count", kind="Counted") == 2
    assert 0 <= counted("reconcile_duration_seconds_sum", kind="Counted") < 60


def test_what_a_stop_breaks_off_has_ended_when_it_returns(in_no_time: Run) -> None:
    ended: list[float] = []

    async def tidies_up(_: Key) -> float | None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3)
            ended.append(asyncio.get_running_loop().time())
        return None

    async def story() -> list[float]:
        work = made(Looks(tidies_up))
        tasks = work.start()
        work.wake(KEY)
        await asyncio.sleep(1)
        assert not await work.stop(5)
        assert all(task.done() for task in tasks)
        return ended

    assert in_no_time(story()) == [9.0]
