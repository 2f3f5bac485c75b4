"""What a process holds in memory, at the very bounds of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from servers.clock import Clock
from slipway.edge.load import FEWEST_WAITING, Load
from slipway.http.problems import RateLimitedError, UnavailableError
from slipway.redis import cache as cache_module
from slipway.redis.cache import ENTRY_OVERHEAD, Cache, LocalLevel
from slipway.redis.gateway import AWAY, RedisGateway
from slipway.settings import Settings


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_is_held_until_its_moment_and_not_at_it(clock: Clock) -> None:
    level = LocalLevel(10_000, clock)
    level.put("over", b"x", clock.now)
    assert len(level) == 0
    level.put("key", b"x", clock.now + 1)
    clock.now += 0.999
    assert level.get("key") == b"x"
    clock.now = 1001.0
    assert level.get("key") is None
    assert len(level) == 0, "it is dropped, too"


def test_an_eighth_of_all_memory_is_the_most_for_a_value_and_all_of_it_is_used(clock: Clock) -> None:
    entry = ENTRY_OVERHEAD + 100
    level = LocalLevel(8 * entry, clock)
    level.put("too large", b"x" * 101, clock.now + 1)
    assert len(level) == 0
    for number in range(8):
        level.put(str(number), b"x" * 100, clock.now + 1)
    assert len(level) == 8
    level.put("0", b"x" * 100, clock.now + 1)
    assert len(level) == 8, "one that takes its own place takes no other's"
    level.put("8", b"", clock.now + 1)
    assert level.get("1") is None
    assert len(level) == 8


@pytest.mark.parametrize(("ttl", "local"), [(30.0, 1.0), (2.0, 1.0), (1.0, 0.5)])
async def test_the_two_ages_of_a_value_are_together_what_was_asked_for(clock: Clock, ttl: float, local: float) -> None:
    cache = Cache(RedisGateway(Settings()), ttl, clock=clock)
    loads = 0

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        return b"x"

    await cache.get_or_load("key", load)
    clock.now += local - 0.001
    await cache.get_or_load("key", load)
    assert loads == 1
    clock.now += 0.002
    await cache.get_or_load("key", load)
    assert loads == 2
    assert cache._redis_age == ttl - local  # noqa: SLF001 - what is left of it for Redis


class Gateway:
    """A Redis that a test answers for."""

    configured = True

    def __init__(self) -> None:
        self.away = True
        self.names: list[str] = []
        self.go = asyncio.Event()
        self.deliver: Callable[[Any], Awaitable[bool]] | None = None

    def before_return(self, deliver: Callable[[Any], Awaitable[bool]]) -> None:
        self.deliver = deliver

    async def call(self, _operation: object, name: str) -> object:
        self.names.append(name)
        if name == "cache.fill":
            await self.go.wait()
        return AWAY if self.away else 1000


class Redis:
    """Takes what is written at its return."""

    def __init__(self) -> None:
        self.keys: list[list[str]] = []

    async def evalsha(self, _digest: str, number: int, *given: Any) -> int:
        self.keys.append([key.removeprefix("slipway:cache:") for key in given[:number]])
        return number


async def test_what_is_remembered_for_the_return_of_redis_is_bounded_and_told_in_batches(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "OVERDUE", 5)
    monkeypatch.setattr(cache_module, "BATCH", 2)
    gateway, redis = Gateway(), Redis()
    cache = Cache(cast("RedisGateway", gateway), 30, clock=clock)
    await cache.invalidate(*"abcdefg")
    assert gateway.names == ["cache.invalidate"] * 4, "two in a command"
    assert gateway.deliver is not None
    assert [await gateway.deliver(redis) for _ in range(4)] == [True, True, True, False]
    assert redis.keys == [["c", "d"], ["e", "f"], ["g"]]
    gateway.away = False
    await cache.invalidate("h")
    assert await gateway.deliver(redis) is False, "it was told at once"


async def test_no_more_values_are_on_their_way_to_redis_than_may_be(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FILLS", 2)
    gateway = Gateway()
    gateway.away = False
    cache = Cache(cast("RedisGateway", gateway), 30, clock=clock)

    async def load() -> bytes:
        return b"x"

    for key in "abc":
        assert await cache.get_or_load(key, load) == b"x"
    await asyncio.sleep(0)
    assert gateway.names.count("cache.fill") == 2
    gateway.go.set()
    await asyncio.sleep(0.01)
    await cache.get_or_load("d", load)
    await asyncio.sleep(0)
    assert gateway.names.count("cache.fill") == 3


@pytest.mark.parametrize(("concurrency", "waiting"), [(1, FEWEST_WAITING), (64, 64), (400, 400)])
def test_a_client_waits_for_a_quarter_of_the_bodies_and_all_for_no_more_than_may_be(
    concurrency: int, waiting: int
) -> None:
    load = Load(concurrency, [])
    for client in "abcd":
        for _ in range(waiting // 4):
            load.begin_waiting(client)
        with pytest.raises(RateLimitedError):
            load.begin_waiting(client)
    with pytest.raises(UnavailableError):
        load.begin_waiting("e")
    load.end_waiting("a")
    load.begin_waiting("e")
    with pytest.raises(UnavailableError):
        load.begin_waiting("a")
    load.end_waiting("e")
    load.begin_waiting("a")


def test_a_request_counts_unless_it_waits_for_its_body() -> None:
    in_flight = [1, 2]
    load = Load(2, in_flight)
    load.check()
    in_flight.append(3)
    with pytest.raises(UnavailableError):
        load.check()
    load.begin_waiting("a")
    load.check()
    load.end_waiting("a")
    with pytest.raises(UnavailableError):
        load.check()
