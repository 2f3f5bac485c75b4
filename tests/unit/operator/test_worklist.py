from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from slipway_operator import telemetry, worklist
from slipway_operator.cluster import ApiError
from slipway_operator.worklist import Key, Worklist

KEY = Key("SchemaMigration", "shop", "orders")
OTHER = Key("SchemaMigration", "shop", "stock")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Look = Callable[[Key], Awaitable[float | None]]


class Looks:
    """A reconciler that notes when it looked at what, and then does what the test wants."""

    def __init__(self, then: Look | None = None) -> None:
        self.seen: list[tuple[float, Key]] = []
        self.at_a_time: dict[Key, int] = {}
        self.most: int = 0
        self._then = then

    async def reconcile(self, key: Key) -> float | None:
        self.seen.append((round(asyncio.get_running_loop().time(), 3), key))
        self.at_a_time[key] = self.at_a_time.get(key, 0) + 1
        assert self.at_a_time[key] == 1, "two looks at one resource at the same time"
        self.most = max(self.most, sum(self.at_a_time.values()))
        try:
            return await self._then(key) if self._then else None
        finally:
            self.at_a_time[key] -= 1

    def times(self, key: Key = KEY) -> list[float]:
        return [at for at, seen in self.seen if seen == key]


def made(looks: Looks, **options: Any) -> Worklist:
    return Worklist({"SchemaMigration": looks}, **options)


def at_work(looks: Looks, **options: Any) -> Worklist:
    """It runs, and has just been woken for KEY."""
    work = made(looks, **options)
    work.start()
    work.wake(KEY)
    return work


def lasting(seconds: float) -> Look:
    async def look(_: Key) -> float | None:
        await asyncio.sleep(seconds)
        return None

    return look


def test_a_resource_that_is_woken_often_is_looked_at_once(in_no_time: Run) -> None:
    looks = Looks()

    async def story() -> None:
        work = made(looks)
        for _ in range(5):
            work.wake(KEY)
        work.wake(OTHER)
        work.start()
        await asyncio.sleep(100)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.seen == [(0.0, KEY), (0.0, OTHER)]


def test_a_wake_during_a_look_causes_one_more_and_never_two_at_a_time(in_no_time: Run) -> None:
    looks = Looks(lasting(10))

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(5)
        for _ in range(3):
            work.wake(KEY)
        await asyncio.sleep(100)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.times() == [0.0, 10.0]


def test_eight_resources_are_looked_at_at_a_time(in_no_time: Run) -> None:
    looks = Looks(lasting(10))

    async def story() -> None:
        work = made(looks)
        work.start()
        for number in range(20):
            work.wake(Key("SchemaMigration", "shop", f"m{number}"))
        await asyncio.sleep(5)
        assert work.waiting() == {"now": 12, "later": 0, "running": 8}
        assert telemetry.REGISTRY.get_sample_value("slipway_operator_queue", {"state": "now"}) == 12
        await asyncio.sleep(100)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.most == 8
    assert sorted({at for at, _ in looks.seen}) == [0.0, 10.0, 20.0]


def test_the_next_look_comes_when_the_last_one_asked_for_it(in_no_time: Run) -> None:
    async def again(_: Key) -> float | None:
        return 30.0

    looks = Looks(again)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(70)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.times() == [0.0, 30.0, 60.0]


def test_a_wake_brings_the_next_look_forward_and_the_former_time_is_void(in_no_time: Run) -> None:
    answers = iter([30.0, None])

    async def again(_: Key) -> float | None:
        return next(answers)

    looks = Looks(again)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(10)
        work.wake(KEY)
        await asyncio.sleep(100)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.times() == [0.0, 10.0]


def test_void_times_do_not_pile_up(in_no_time: Run) -> None:
    async def again(_: Key) -> float | None:
        return 3600.0

    async def story() -> int:
        work = made(Looks(again))
        work.start()
        for _ in range(1000):
            work.wake(KEY)
            await asyncio.sleep(0.1)
        return len(work._heap)  # noqa: SLF001 - a leak shows nowhere else

    assert in_no_time(story()) <= 2 * worklist.MOST_VOID


def test_a_failing_resource_is_looked_at_again_after_growing_pauses_of_at_most_a_minute(in_no_time: Run) -> None:
    async def broken(_: Key) -> float | None:
        raise ApiError(500, "InternalError", "etcd is away")

    looks = Looks(broken)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(600)
        assert await work.stop(1)

    in_no_time(story())
    times = looks.times()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    longest = [min(60.0, 2.0**n) for n in range(len(pauses))]
    assert len(pauses) > 12
    assert all(most / 2 <= pause <= most + 0.01 for pause, most in zip(pauses, longest, strict=True))
    assert len({round(pause, 1) for pause in pauses[7:]}) > 1, "pauses without jitter"


def test_a_failure_is_told_once_for_each_change_and_its_end_too(
    in_no_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception | None] = [
        ApiError(500, "InternalError", "etcd is away"),
        ApiError(500, "InternalError", "etcd is away"),
        ValueError("a fault of ours"),
        None,
    ]

    async def broken(_: Key) -> float | None:
        error = errors.pop(0)
        if error is not None:
            raise error
        return None

    async def story() -> None:
        work = at_work(Looks(broken))
        await asyncio.sleep(100)
        assert await work.stop(1)

    def failed() -> float:
        labels = {"kind": "SchemaMigration", "error": "ApiError"}
        return telemetry.REGISTRY.get_sample_value("slipway_operator_errors_total", labels) or 0.0

    before = failed()
    with caplog.at_level(logging.INFO, logger="slipway_operator.worklist"):
        in_no_time(story())
    told = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert told == [
        ("Will look again: ApiError: etcd is away", False),
        ("Will look again: ValueError: a fault of ours", True),
        ("Works again after 3 failures.", False),
    ]
    assert failed() == before + 2


def test_a_wake_ends_a_long_pause_but_never_makes_it_shorter_than_a_second(in_no_time: Run) -> None:
    async def broken(_: Key) -> float | None:
        raise ApiError(500, "InternalError", "etcd is away")

    looks = Looks(broken)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(200)
        del looks.seen[:]
        for _ in range(50):
            work.wake(KEY)
            await asyncio.sleep(0.1)
        assert await work.stop(1)

    in_no_time(story())
    assert 4 <= len(looks.times()) <= 5


def test_one_resource_that_fails_delays_no_other(in_no_time: Run) -> None:
    async def broken(key: Key) -> float | None:
        if key == KEY:
            raise ApiError(403, "Forbidden", "not for you")
        return 1.0

    looks = Looks(broken)

    async def story() -> None:
        work = at_work(looks, workers=1)
        work.wake(OTHER)
        await asyncio.sleep(9.5)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.times(OTHER) == [float(n) for n in range(10)]


def test_a_resource_that_is_gone_is_not_looked_at_again(in_no_time: Run) -> None:
    async def again(_: Key) -> float | None:
        return 10.0

    looks = Looks(again)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(5)
        work.forget(KEY)
        await asyncio.sleep(100)
        assert work.waiting() == {"now": 0, "later": 0, "running": 0}
        work.wake(KEY)
        await asyncio.sleep(1)
        assert await work.stop(1)

    in_no_time(story())
    assert looks.times() == [0.0, 105.0]


def test_the_length_of_the_queue_can_be_read_after_the_loop_has_ended(in_no_time: Run) -> None:
    async def story() -> None:
        work = made(Looks(), workers=0)
        work.wake(KEY)
        work.start()

    in_no_time(story())
    now = telemetry.REGISTRY.get_sample_value("slipway_operator_queue", {"state": "now"})
    assert now == 1


def test_a_full_queue_refuses_new_resources_and_keeps_those_it_has(
    in_no_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks()

    async def story() -> None:
        work = made(looks, limit=2)
        for name in ("a", "b", "c", "a"):
            work.wake(Key("SchemaMigration", "shop", name))
        work.start()
        await asyncio.sleep(1)
        assert await work.stop(1)

    in_no_time(story())
    assert [key.name for _, key in looks.seen] == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == [
        "SchemaMigration shop/c isn't looked at: 2 resources wait already."
    ]


def test_stopping_waits_for_looks_that_run_and_takes_up_no_others(in_no_time: Run) -> None:
    ended: list[Key] = []

    async def slow(key: Key) -> float | None:
        await asyncio.sleep(10)
        ended.append(key)
        return 0.0

    looks = Looks(slow)

    async def story() -> float:
        work = at_work(looks, workers=1)
        work.wake(OTHER)
        await asyncio.sleep(5)
        assert await work.stop(20)
        return asyncio.get_running_loop().time()

    assert in_no_time(story()) == pytest.approx(10.0)
    assert ended == [KEY]
    assert looks.times(OTHER) == []


def test_stopping_breaks_off_what_takes_too_long(in_no_time: Run) -> None:
    async def slow(_: Key) -> float | None:
        await asyncio.sleep(1000)
        return None

    async def story() -> float:
        work = at_work(Looks(slow), longest_look=5000)
        await asyncio.sleep(5)
        assert not await work.stop(20)
        return asyncio.get_running_loop().time()

    assert in_no_time(story()) == pytest.approx(25.0)


def test_a_look_that_hangs_is_broken_off_and_tried_again(in_no_time: Run) -> None:
    async def hanging(_: Key) -> float | None:
        await asyncio.Event().wait()
        return None

    looks = Looks(hanging)

    async def story() -> None:
        work = at_work(looks)
        await asyncio.sleep(130)
        await work.stop(0)

    in_no_time(story())
    assert len(looks.times()) == 2
    assert 120.5 <= looks.times()[1] <= 121
