"""The cache as it works where no Redis is configured, by a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import Any, TypeVar

import pytest

from servers.clock import Clock
from slipway.context.deadline import remaining, set_deadline
from slipway.redis import cache as cache_module
from slipway.redis.cache import Cache, LocalLevel
from slipway.redis.gateway import RedisGateway
from slipway.settings import Settings
from slipway.telemetry.registry import DEGRADED, REGISTRY

T = TypeVar("T")


class Row:
    """Something in the database: counts its reads; `hold` makes them wait for `released` after they read."""

    def __init__(self, value: bytes | None = b"old", *, hold: bool = False) -> None:
        self.value = value
        self.reads = 0
        self.reading = asyncio.Event()
        self.released = asyncio.Event()
        if not hold:
            self.released.set()

    async def load(self) -> bytes | None:
        self.reads += 1
        value = self.value
        self.reading.set()
        await self.released.wait()
        return value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(RedisGateway(Settings()), 30, clock=clock)


def requests(result: str) -> float:
    return REGISTRY.get_sample_value("slipway_cache_requests_total", {"result": result}) or 0


async def test_a_value_is_loaded_once_and_then_served_for_a_second(cache: Cache, clock: Clock) -> None:
    row = Row()
    assert cache.peek("key") is None
    assert await cache.get_or_load("key", row.load) == b"old"
    row.value = b"new"
    clock.now += 0.99
    assert await cache.get_or_load("key", row.load) == b"old"
    assert cache.peek("key") == b"old"
    clock.now += 0.01
    assert cache.peek("key") is None
    assert await cache.get_or_load("key", row.load) == b"new"
    assert row.reads == 2


async def test_the_age_counts_from_the_start_of_the_load(cache: Cache, clock: Clock) -> None:
    async def slow() -> bytes:
        clock.now += 1
        return b"read a second ago"

    assert await cache.get_or_load("key", slow) == b"read a second ago"
    assert cache.peek("key") is None


async def test_concurrent_readers_share_one_load(cache: Cache) -> None:
    row = Row(hold=True)
    readers = [asyncio.create_task(cache.get_or_load("key", row.load)) for _ in range(50)]
    await row.reading.wait()
    row.released.set()
    assert set(await asyncio.gather(*readers)) == {b"old"}
    assert row.reads == 1


async def test_without_single_flight_each_reader_loads(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[str, Any]):
        def get(self, _key: str, _default: object = None) -> Any:
            return None

    monkeypatch.setattr(cache, "_flights", Forgetful())
    row = Row(hold=True)
    readers = [asyncio.create_task(cache.get_or_load("key", row.load)) for _ in range(50)]
    await row.reading.wait()
    row.released.set()
    await asyncio.gather(*readers)
    assert row.reads == 50


async def cancel_the_first_of_three(cache: Cache) -> list[Any]:
    row = Row(hold=True)
    first = asyncio.create_task(cache.get_or_load("key", row.load))
    await row.reading.wait()
    followers = [asyncio.create_task(cache.get_or_load("key", row.load)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    row.released.set()
    return await asyncio.gather(*followers, return_exceptions=True)


async def test_a_cancelled_first_reader_does_not_fail_the_others(cache: Cache) -> None:
    assert await cancel_the_first_of_three(cache) == [b"old", b"old"]


async def test_without_the_shield_it_does(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bare(task: Awaitable[T]) -> T:
        return await task

    monkeypatch.setattr(asyncio, "shield", bare)
    outcomes = await cancel_the_first_of_three(cache)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_an_error_reaches_all_who_wait_and_is_not_kept(cache: Cache) -> None:
    calls = 0
    go = asyncio.Event()

    async def fail() -> bytes:
        nonlocal calls
        calls += 1
        await go.wait()
        raise LookupError("database gone")

    readers = [asyncio.create_task(cache.get_or_load("key", fail)) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert calls == 1
    assert await cache.get_or_load("key", Row().load) == b"old"


async def test_none_is_passed_on_and_not_kept(cache: Cache) -> None:
    row = Row(None)
    assert await cache.get_or_load("key", row.load) is None
    row.value = b"made since"
    assert await cache.get_or_load("key", row.load) == b"made since"


async def test_ttl_0_loads_each_time() -> None:
    cache = Cache(RedisGateway(Settings()), 0)
    row = Row()
    before = requests("bypass")
    for _ in range(3):
        assert await cache.get_or_load("key", row.load) == b"old"
        assert cache.peek("key") is None
    assert row.reads == 3
    assert requests("bypass") == before + 3


async def test_an_invalidated_value_is_gone_at_once(cache: Cache) -> None:
    row = Row()
    await cache.get_or_load("key", row.load)
    row.value = b"new"
    await cache.invalidate("key", "another")
    assert cache.peek("key") is None
    assert await cache.get_or_load("key", row.load) == b"new"


async def read_across_a_commit(cache: Cache) -> bytes | None:
    """A reader read before the commit and is slow to say so; what does the next one get?"""
    row = Row(hold=True)
    early = asyncio.create_task(cache.get_or_load("key", row.load))
    await row.reading.wait()
    row.value = b"new"
    await cache.invalidate("key")
    late = asyncio.create_task(cache.get_or_load("key", row.load))
    await asyncio.sleep(0)
    row.released.set()
    assert await early == b"old"
    await late
    return await cache.get_or_load("key", row.load)


async def test_a_load_that_began_before_the_commit_is_not_given_to_readers_after_it(cache: Cache) -> None:
    assert await read_across_a_commit(cache) == b"new"


async def test_unless_flights_are_not_forgotten(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_forget", lambda _keys: None)
    assert await read_across_a_commit(cache) == b"old"


async def test_a_load_has_a_deadline_of_its_own(cache: Cache) -> None:
    async def load() -> bytes:
        left = remaining()
        assert left is not None
        assert 1 < left <= cache_module.LOAD_TIME
        return b"value"

    set_deadline(monotonic() + 0.001)
    assert await cache.get_or_load("key", load) == b"value"
    left = remaining()
    assert left is not None
    assert left <= 0.001


async def test_the_least_recently_used_values_go_first(clock: Clock) -> None:
    level = LocalLevel(10 * (cache_module.ENTRY_OVERHEAD + 10), clock)
    for number in range(10):
        level.put(str(number), b"0123456789", clock.now + 1)
    assert level.get("0") is not None
    level.put("10", b"0123456789", clock.now + 1)
    assert level.get("1") is None
    assert level.get("0") is not None
    assert len(level) == 10


async def test_a_large_value_does_not_push_out_the_small_ones(clock: Clock) -> None:
    level = LocalLevel(10_000, clock)
    level.put("small", b"x", clock.now + 1)
    level.put("large", b"x" * 9000, clock.now + 1)
    assert level.get("large") is None
    assert level.get("small") == b"x"


async def test_without_a_configured_redis_nothing_is_degraded(cache: Cache) -> None:
    await cache.get_or_load("key", Row().load)
    await cache.invalidate("key")
    assert DEGRADED.labels("redis")._value.get() == 0  # noqa: SLF001 - what /metrics shows
    assert not cache._overdue  # noqa: SLF001 - it must not grow where nobody will ever ask for it


async def test_hits_and_misses_are_counted(cache: Cache) -> None:
    before = requests("local"), requests("miss")
    await cache.get_or_load("key", Row().load)
    await cache.get_or_load("key", Row().load)
    cache.peek("key")
    cache.peek("nothing")
    assert (requests("local"), requests("miss")) == (before[0] + 2, before[1] + 1)
