"""Two processes (two caches) on one Redis: what one wrote, the other sees, and how late at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from servers.clock import Clock
from servers.redis import RedisServer
from servers.waiting import until
from slipway.redis import cache as cache_module
from slipway.redis.cache import Cache
from slipway.redis.gateway import RedisGateway, Script
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

KEY = "slipway:cache:key"


@dataclass
class Process:
    """A process with a cache; `forget()` lets its own copies grow too old."""

    gateway: RedisGateway
    cache: Cache
    clock: Clock

    def forget(self) -> None:
        self.clock.now += 1


@dataclass
class Row:
    """Something in the database; a read made while `released` is unset has read already, and answers later."""

    value: bytes = b"old"
    reads: int = 0
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.released.set()

    async def load(self) -> bytes:
        self.reads += 1
        value = self.value
        self.reading.set()
        await self.released.wait()
        return value


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    started: list[RedisGateway] = []

    async def start(ttl: float = 30, redis_timeout: float = 2) -> Process:
        gateway = RedisGateway(Settings(redis_url=redis_server.url, redis_timeout=redis_timeout))
        started.append(gateway)
        await gateway.start()
        await until(lambda: gateway.available)
        clock = Clock()
        return Process(gateway, Cache(gateway, ttl, clock=clock), clock)

    yield start
    for gateway in started:
        await gateway.close()


async def stored(process: Process) -> object:
    return await process.gateway.call(lambda redis: redis.get(KEY), "get")


async def fill(process: Process, row: Row) -> None:
    """Read through, and see the value arrive in Redis."""
    assert await process.cache.get_or_load("key", row.load) == row.value
    await until(lambda: not process.cache._fills)  # noqa: SLF001
    assert await stored(process) == b"=" + row.value


def requests(result: str) -> float:
    return REGISTRY.get_sample_value("slipway_cache_requests_total", {"result": result}) or 0


async def test_what_one_process_loaded_the_others_find_in_redis(start: Start) -> None:
    one, two = await start(), await start()
    row = Row()
    await fill(one, row)
    before = requests("redis")
    assert await two.cache.get_or_load("key", row.load) == b"old"
    assert two.cache.peek("key") == b"old"
    assert (row.reads, requests("redis")) == (1, before + 1)


async def test_other_processes_see_a_write_within_their_local_age(start: Start) -> None:
    one, two = await start(), await start()
    row = Row()
    await fill(one, row)
    await two.cache.get_or_load("key", row.load)
    row.value = b"new"
    await one.cache.invalidate("key")
    assert await one.cache.get_or_load("key", row.load) == b"new"
    two.forget()
    assert await two.cache.get_or_load("key", row.load) == b"new"


async def fill_across_a_commit(one: Process, two: Process, row: Row) -> None:
    """`one` reads before the commit, `two` commits and invalidates, and only then does `one` store what it read."""
    row.released.clear()
    early = asyncio.create_task(one.cache.get_or_load("key", row.load))
    await row.reading.wait()
    row.value = b"new"
    await two.cache.invalidate("key")
    row.released.set()
    assert await early == b"old"
    await until(lambda: not one.cache._fills)  # noqa: SLF001


async def test_a_reader_from_before_the_commit_can_not_put_the_old_value_back(start: Start) -> None:
    one, two, three = await start(), await start(), await start()
    row = Row()
    await fill_across_a_commit(one, two, row)
    assert await stored(one) == b"-"
    assert await three.cache.get_or_load("key", row.load) == b"new"
    one.forget()
    assert await one.cache.get_or_load("key", row.load) == b"new"


async def test_without_a_tombstone_it_would(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_BURY", Script("return redis.call('DEL', unpack(KEYS))"))
    one, two, three = await start(), await start(), await start()
    row = Row()
    await fill_across_a_commit(one, two, row)
    assert await three.cache.get_or_load("key", row.load) == b"old"


async def outlast_the_tombstone(one: Process, two: Process, row: Row) -> None:
    row.released.clear()
    early = asyncio.create_task(one.cache.get_or_load("key", row.load))
    await row.reading.wait()
    row.value = b"new"
    await two.cache.invalidate("key")

    async def tombstone_is_gone() -> bool:
        return await stored(two) is None

    await until(tombstone_is_gone)
    row.released.set()
    await early
    await until(lambda: not one.cache._fills)  # noqa: SLF001


async def test_a_reader_that_outlasts_the_tombstone_stores_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TOMBSTONE", 0.05)
    one, two, three = await start(), await start(), await start()
    row = Row()
    await outlast_the_tombstone(one, two, row)
    assert await three.cache.get_or_load("key", row.load) == b"new"


async def test_without_a_last_moment_to_store_it_would(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "TOMBSTONE", 0.05)
    monkeypatch.setattr(cache_module, "_FILL", Script("return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', 30000)"))
    one, two, three = await start(), await start(), await start()
    row = Row()
    await outlast_the_tombstone(one, two, row)
    assert await three.cache.get_or_load("key", row.load) == b"old"


async def test_a_lost_invalidation_is_mended_by_the_ttl(start: Start) -> None:
    one, two = await start(ttl=2), await start(ttl=2)
    row = Row()
    await fill(one, row)
    row.value = b"new"  # and the process that wrote it was killed before it could say so
    assert await two.cache.get_or_load("key", row.load) == b"old"

    async def expired() -> bool:
        return await stored(one) is None

    await until(expired)
    for process in (one, two):
        process.forget()
        assert await process.cache.get_or_load("key", row.load) == b"new"


async def test_without_an_end_in_redis_it_would_not_be(start: Start) -> None:
    one, two = await start(ttl=2), await start(ttl=2)
    row = Row()
    await fill(one, row)
    await one.gateway.call(lambda redis: redis.persist(KEY), "persist")
    await one.cache.get_or_load("stored later", row.load)
    row.value = b"new"

    async def the_later_one_expired() -> bool:
        return await one.gateway.call(lambda redis: redis.exists("slipway:cache:stored later"), "exists") == 0

    await until(lambda: not one.cache._fills)  # noqa: SLF001
    await until(the_later_one_expired)
    two.forget()
    assert await two.cache.get_or_load("key", row.load) == b"old"


async def test_both_levels_together_hold_a_value_no_longer_than_the_ttl(start: Start) -> None:
    process = await start(ttl=30)
    row = Row()

    async def lifetime(key: str) -> int:
        await process.cache.get_or_load(key, row.load)
        await until(lambda: not process.cache._fills)  # noqa: SLF001
        left = await process.gateway.call(lambda redis: redis.pttl(f"slipway:cache:{key}"), "pttl")
        assert isinstance(left, int)
        return left

    lives = [await lifetime(str(number)) for number in range(30)]
    local = 1000
    assert max(lives) + local <= 30_000
    assert min(lives) > 0.85 * 29_000
    # Values loaded together don't end together.
    assert max(lives) - min(lives) > 300


async def write_while_redis_is_silent(server: RedisServer, writer: Process, reader: Process, row: Row) -> None:
    await fill(reader, row)
    server.pause()
    await stored(writer)
    assert not writer.gateway.available
    row.value = b"new"
    await writer.cache.invalidate("key")
    assert await writer.cache.get_or_load("key", row.load) == b"new"
    server.resume()
    await until(lambda: writer.gateway.available)
    writer.forget()
    reader.forget()


async def test_an_invalidation_that_redis_missed_is_made_up_before_it_is_read_again(
    redis_server: RedisServer, start: Start
) -> None:
    writer, reader = await start(redis_timeout=0.5), await start()
    row = Row()
    await write_while_redis_is_silent(redis_server, writer, reader, row)
    assert await writer.cache.get_or_load("key", row.load) == b"new"
    assert await reader.cache.get_or_load("key", row.load) == b"new"
    assert not writer.cache._overdue  # noqa: SLF001


async def test_otherwise_the_old_value_is_read_again(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = await start(redis_timeout=0.5), await start()
    monkeypatch.setattr(writer.cache, "_remember", lambda _keys: None)
    row = Row()
    await write_while_redis_is_silent(redis_server, writer, reader, row)
    assert await writer.cache.get_or_load("key", row.load) == b"old"


async def test_a_value_sent_into_the_silence_is_not_stored_when_redis_wakes_up(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TOMBSTONE", 0.05)
    one, two = await start(redis_timeout=0.5), await start(redis_timeout=0.5)
    row = Row()
    row.released.clear()
    reader = asyncio.create_task(one.cache.get_or_load("key", row.load))
    await row.reading.wait()
    redis_server.pause()
    row.released.set()
    assert await reader == b"old"
    await until(lambda: not one.gateway.available)  # the fill was sent, and gave up
    row.value = b"new"
    redis_server.resume()
    await until(lambda: one.gateway.available)
    assert await stored(one) is None
    assert await two.cache.get_or_load("key", row.load) == b"new"


async def test_readers_get_their_values_while_redis_is_silent_gone_and_back(
    redis_server: RedisServer, start: Start
) -> None:
    process = await start(redis_timeout=0.5)
    row = Row()
    redis_server.pause()
    readers = [process.cache.get_or_load(f"key-{number}", row.load) for number in range(50)]
    assert set(await asyncio.gather(*readers)) == {b"old"}
    assert REGISTRY.get_sample_value("slipway_degraded", {"dependency": "redis"}) == 1
    redis_server.stop()
    assert await process.cache.get_or_load("another", row.load) == b"old"
    redis_server.start()
    await until(lambda: process.gateway.available)
    assert REGISTRY.get_sample_value("slipway_degraded", {"dependency": "redis"}) == 0
    await fill(process, row)


async def test_a_value_of_somebody_else_under_our_name_is_not_served(start: Start) -> None:
    process = await start()
    await process.gateway.call(lambda redis: redis.set(KEY, b"foreign"), "set")
    assert await process.cache.get_or_load("key", Row().load) == b"old"


def answered() -> float:
    return REGISTRY.get_sample_value("slipway_redis_calls_total", {"result": "answered"}) or 0


async def test_where_a_tombstone_lies_redis_is_not_asked_for_another(start: Start) -> None:
    writer, reader = await start(), await start()
    row = Row()
    row.released.clear()
    early = asyncio.create_task(reader.cache.get_or_load("key", row.load))
    await row.reading.wait()
    before = answered()
    await writer.cache.invalidate("key")
    row.value = b"new"
    await writer.cache.invalidate("key")
    assert answered() == before + 1
    row.released.set()
    assert await early == b"old"
    await until(lambda: not reader.cache._fills)  # noqa: SLF001
    reader.forget()
    assert await reader.cache.get_or_load("key", row.load) == b"new"
    before = answered()
    writer.clock.now += cache_module.STILL_LIES
    await writer.cache.invalidate("key")
    assert answered() == before + 1


async def test_trusted_for_longer_than_it_lies_a_tombstone_would_let_the_old_value_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TOMBSTONE", 0.05)
    writer, reader = await start(), await start()
    await writer.cache.invalidate("key")
    await asyncio.sleep(0.1)  # Redis' own clock ends it
    monkeypatch.setattr(cache_module, "TOMBSTONE", 5)
    row = Row()
    await fill(reader, row)
    row.value = b"new"
    await writer.cache.invalidate("key")
    reader.forget()
    assert await reader.cache.get_or_load("key", row.load) == b"old"


async def test_tombstones_from_before_an_outage_are_not_trusted(redis_server: RedisServer, start: Start) -> None:
    writer, reader = await start(redis_timeout=0.5), await start(redis_timeout=0.5)
    await writer.cache.invalidate("key")
    redis_server.stop()
    await asyncio.gather(stored(writer), stored(reader))
    redis_server.start()
    await until(lambda: writer.gateway.available and reader.gateway.available)
    row = Row()
    await fill(reader, row)
    row.value = b"new"
    await writer.cache.invalidate("key")
    reader.forget()
    assert await reader.cache.get_or_load("key", row.load) == b"new"


async def test_what_is_invalidated_in_one_turn_of_the_loop_is_one_command(start: Start) -> None:
    process = await start()
    keys = [f"key{number}" for number in range(20)]
    before = answered()
    await asyncio.gather(*(process.cache.invalidate(key) for key in keys))
    assert answered() == before + 1
    names = [f"slipway:cache:{key}" for key in keys]
    assert await process.gateway.call(lambda redis: redis.mget(names), "mget") == [b"-"] * 20


async def test_who_is_cancelled_takes_nobody_s_invalidation_along(start: Start) -> None:
    one, other = await start(), await start()
    for key in ("mine", "theirs"):
        await other.cache.get_or_load(key, Row().load)
    mine, theirs = (asyncio.create_task(one.cache.invalidate(key)) for key in ("mine", "theirs"))
    await asyncio.sleep(0)
    mine.cancel()
    await theirs
    other.forget()
    for key in ("mine", "theirs"):
        assert await other.cache.get_or_load(key, Row(b"new").load) == b"new"


async def test_many_keys_are_invalidated_in_few_commands(start: Start) -> None:
    process = await start()
    before = answered()
    await process.cache.invalidate(*(str(number) for number in range(1200)))
    assert answered() == before + 3
    assert await process.gateway.call(lambda redis: redis.dbsize(), "dbsize") in {1200, 1201}  # and a probe's key
