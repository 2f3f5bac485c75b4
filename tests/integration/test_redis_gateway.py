"""Redis that goes away, falls silent, refuses, and comes back: what callers notice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from servers.redis import RedisServer
from servers.waiting import until
from slipway.redis import gateway as redis_module
from slipway.redis.gateway import AWAY, CONNECTIONS, Away, RedisGateway
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY


@asynccontextmanager
async def gateway_to(url: str | None, *, timeout: float = 0.5) -> AsyncIterator[RedisGateway]:
    opened = RedisGateway(Settings(redis_url=url, redis_timeout=timeout))
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def gateway(redis_server: RedisServer) -> AsyncIterator[RedisGateway]:
    async with gateway_to(redis_server.url) as opened:
        await until(lambda: opened.available)
        yield opened


class Calls:
    """An operation that counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0

    async def __call__(self, redis: Redis) -> Any:
        self.begun += 1
        return await redis.incr("calls")


def degraded() -> float | None:
    return REGISTRY.get_sample_value("slipway_degraded", {"dependency": "redis"})


async def test_a_call_gives_what_redis_answered(gateway: RedisGateway) -> None:
    assert await gateway.call(lambda redis: redis.set("key", b"value"), "set") is True
    assert await gateway.call(lambda redis: redis.get("key"), "get") == b"value"
    assert await gateway.call(lambda redis: redis.get("nothing"), "get") is None
    assert degraded() == 0


async def test_redis_gone_and_back_costs_one_failure(redis_server: RedisServer, gateway: RedisGateway) -> None:
    calls = Calls()
    redis_server.stop()
    assert await gateway.call(calls, "incr") is AWAY
    assert (gateway.available, degraded()) == (False, 1)
    assert [await gateway.call(calls, "incr") for _ in range(100)] == [AWAY] * 100
    assert calls.begun == 1
    redis_server.start()
    await until(lambda: gateway.available)
    assert degraded() == 0
    assert await gateway.call(calls, "incr") == 1


async def test_a_silent_redis_is_waited_for_once(redis_server: RedisServer, gateway: RedisGateway) -> None:
    calls = Calls()
    redis_server.pause()
    together = await asyncio.gather(*(gateway.call(calls, "incr") for _ in range(100)))
    assert set(together) == {AWAY}
    # Those who waited for a connection went away with the first who waited for a reply.
    assert calls.begun <= CONNECTIONS
    later = [await gateway.call(calls, "incr") for _ in range(100)]
    assert set(later) == {AWAY}
    assert calls.begun <= CONNECTIONS
    redis_server.resume()
    await until(lambda: gateway.available)
    assert isinstance(await gateway.call(calls, "incr"), int)


async def test_without_the_circuit_each_caller_waits_anew(
    redis_server: RedisServer, gateway: RedisGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "_open_circuit", lambda _error: None)
    calls = Calls()
    redis_server.pause()
    assert [await gateway.call(calls, "incr") for _ in range(3)] == [AWAY] * 3
    assert calls.begun == 3


async def test_without_the_time_limit_a_caller_waits_as_long_as_redis_is_silent(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, timeout=5) as patient:
        redis_server.pause()
        call = asyncio.create_task(patient.call(lambda redis: redis.get("key"), "get"))
        _, waiting = await asyncio.wait({call}, timeout=0.6)
        assert waiting == {call}
        redis_server.resume()
        assert await call is None


async def test_a_process_starts_without_redis_and_finds_it_later(redis_server: RedisServer) -> None:
    redis_server.stop()
    async with gateway_to(redis_server.url) as gateway:
        assert (gateway.available, degraded()) == (False, 1)
        redis_server.start()
        await until(lambda: gateway.available)
        assert degraded() == 0


async def test_without_a_url_nothing_is_available_and_nothing_degraded() -> None:
    async with gateway_to(None) as gateway:
        assert (gateway.configured, gateway.available, degraded()) == (False, False, 0)
        assert await gateway.call(Calls(), "incr") is AWAY


async def test_a_closed_gateway_stays_away(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        pass
    assert await gateway.call(Calls(), "incr") is AWAY
    redis_server.stop()
    async with gateway_to(redis_server.url) as probing:
        assert degraded() == 1
    assert (probing.available, degraded()) == (False, 0)


async def admin(server: RedisServer, *command: str) -> Any:
    async with Redis(port=server.port) as redis:
        return await redis.execute_command(*command)


async def writes_refused(server: RedisServer, gateway: RedisGateway) -> Callable[[], bool]:
    """Make the server a replica, as a failover does: it takes no writes. Says when a probe has come and gone since."""
    await admin(server, "REPLICAOF", "127.0.0.1", "1")
    assert await gateway.call(Calls(), "incr") is AWAY
    assert not gateway.available
    failed = gateway._delay  # noqa: SLF001 - grows with each failed probe
    return lambda: gateway.available or gateway._delay > failed  # noqa: SLF001


async def test_a_redis_that_refuses_writes_stays_away_until_it_takes_them(
    redis_server: RedisServer, gateway: RedisGateway
) -> None:
    await until(await writes_refused(redis_server, gateway))
    assert not gateway.available
    await admin(redis_server, "REPLICAOF", "NO", "ONE")
    await until(lambda: gateway.available)


async def test_a_probe_that_only_pings_would_take_it_for_healthy(
    redis_server: RedisServer, gateway: RedisGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ping(client: Redis) -> None:
        await client.ping()

    monkeypatch.setattr(gateway, "_write_something", ping)
    await until(await writes_refused(redis_server, gateway))
    assert gateway.available
    assert await gateway.call(Calls(), "incr") is AWAY


async def test_a_key_that_holds_something_else_fails_alone(gateway: RedisGateway) -> None:
    assert await gateway.call(lambda redis: redis.rpush("calls", "x"), "push") == 1
    assert await gateway.call(Calls(), "incr") is AWAY
    assert (gateway.available, degraded()) == (True, 0)


async def test_a_cancelled_caller_is_no_failure_and_leaves_no_reply_behind(gateway: RedisGateway) -> None:
    sent = asyncio.Event()

    async def slow(redis: Redis) -> Any:
        sent.set()
        return await redis.blpop(["nothing"], 2)

    caller = asyncio.create_task(gateway.call(slow, "pop"))
    await sent.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert gateway.available
    echoes = await asyncio.gather(
        *(gateway.call(lambda redis, n=n: redis.echo(str(n)), "echo") for n in range(CONNECTIONS))
    )
    assert echoes == [str(n).encode() for n in range(CONNECTIONS)]


async def test_an_error_of_the_caller_itself_is_raised(gateway: RedisGateway) -> None:
    async def mistake(_redis: Redis) -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await gateway.call(mistake, "mistake")
    assert gateway.available


async def test_more_calls_than_the_queue_holds_count_as_a_failure(
    redis_server: RedisServer, gateway: RedisGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "QUEUE", 3)
    redis_server.pause()
    calls = [asyncio.create_task(gateway.call(Calls(), "incr")) for _ in range(4)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [AWAY]
    assert not gateway.available
    redis_server.resume()
    await asyncio.gather(*calls)


async def test_what_must_be_told_first_is_told_before_anybody_reads(
    redis_server: RedisServer, gateway: RedisGateway
) -> None:
    told: list[int] = []

    async def tell(redis: Redis) -> bool:
        assert not gateway.available
        if len(told) < 3:
            told.append(await redis.incr("told"))
            return True
        return False

    gateway.before_return(tell)
    redis_server.stop()
    await gateway.call(Calls(), "incr")
    redis_server.start()
    await until(lambda: gateway.available)
    assert told == [1, 2, 3]


async def delays_of(
    monkeypatch: pytest.MonkeyPatch, gateway: RedisGateway, server: RedisServer, number: int
) -> list[float]:
    delays: list[float] = []
    sleep = asyncio.sleep

    class Asyncio:
        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            delays.append(seconds)
            await sleep(0.001)

    monkeypatch.setattr(redis_module, "asyncio", Asyncio())
    server.stop()
    await gateway.call(Calls(), "incr")
    await until(lambda: len(delays) >= number)
    return delays[:number]


async def test_probes_back_off_up_to_a_second(
    redis_server: RedisServer, gateway: RedisGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    gateway._available_since -= 60  # noqa: SLF001 - it was there for a minute
    delays = await delays_of(monkeypatch, gateway, redis_server, 8)
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


async def test_probes_of_many_processes_do_not_come_together(
    redis_server: RedisServer, gateway: RedisGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = await delays_of(monkeypatch, gateway, redis_server, 20)
    assert len(set(delays[8:])) == 12
    assert all(0.5 <= delay <= 1 for delay in delays[8:])


async def test_a_redis_that_fails_right_after_its_return_is_asked_less_often(gateway: RedisGateway) -> None:
    for expected in (0.1, 0.2, 0.4):
        gateway._note_failure(OSError())  # noqa: SLF001 - the reply after the probe's failed
        assert gateway._delay == expected  # noqa: SLF001
        await until(lambda: gateway.available)


async def test_calls_are_counted_by_result(redis_server: RedisServer, gateway: RedisGateway) -> None:
    def counted() -> list[float]:
        return [
            REGISTRY.get_sample_value("slipway_redis_calls_total", {"result": result}) or 0
            for result in ("answered", "failed", "skipped")
        ]

    before = counted()
    outcomes: list[object | Away] = [await gateway.call(Calls(), "incr")]
    redis_server.stop()
    outcomes += [await gateway.call(Calls(), "incr") for _ in range(3)]
    assert outcomes == [1, AWAY, AWAY, AWAY]
    assert [after - b for after, b in zip(counted(), before, strict=True)] == [1, 1, 2]
