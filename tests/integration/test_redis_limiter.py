"""Several processes (limiters) on one Redis: what they grant together, and what becomes of it when Redis goes away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers.clock import Clock
from servers.redis import RedisServer
from servers.waiting import until
from slipway.edge import limiter as limiter_module
from slipway.edge.limiter import Decision, RateLimiter
from slipway.redis.gateway import RedisGateway, Script
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

KEY = "slipway:rate:key"


Start = Callable[..., Awaitable[list[RateLimiter]]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(redis_server: RedisServer, clock: Clock) -> AsyncIterator[Start]:
    """Starts processes, each with a way to Redis of its own."""
    gateways: list[RedisGateway] = []

    async def start(processes: int = 1, *, limit: int = 60, redis_timeout: float = 2) -> list[RateLimiter]:
        limiters = []
        for _ in range(processes):
            settings = Settings(
                redis_url=redis_server.url,
                redis_timeout=redis_timeout,
                rate_limit=limit,
                rate_limit_window=60,
                rate_limit_replicas=processes,
            )
            gateway = RedisGateway(settings)
            gateways.append(gateway)
            await gateway.start()
            limiters.append(RateLimiter(settings, gateway, clock=clock))
        await until(lambda: all(gateway.available for gateway in gateways))
        return limiters

    yield start
    for gateway in gateways:
        await gateway.close()


async def granted(limiter: RateLimiter, attempts: int, key: str = "key") -> int:
    return sum([(await limiter.acquire(key)).allowed for _ in range(attempts)])


def leases() -> float:
    return REGISTRY.get_sample_value("slipway_rate_limit_leases_total", {"source": "redis"}) or 0


async def back(*limiters: RateLimiter) -> None:
    await until(lambda: all(limiter._gateway.available for limiter in limiters))  # noqa: SLF001


async def away(*limiters: RateLimiter) -> None:
    """Have each notice that Redis is gone, by a call that doesn't touch the limits."""
    for limiter in limiters:
        await limiter._gateway.call(lambda redis: redis.ping(), "ping")  # noqa: SLF001
        assert not limiter._gateway.available  # noqa: SLF001


async def storm(url: str | None, limit: int, bursts: list[list[int]]) -> int:
    """Each process sends its bursts, all at the same time, on one key; how many requests pass?"""
    processes = len(bursts)
    settings = Settings(
        redis_url=url,
        redis_timeout=5,
        rate_limit=limit,
        rate_limit_window=600,
        rate_limit_replicas=processes if url else 1,
    )
    gateways = [RedisGateway(settings) for _ in bursts]
    try:
        for gateway in gateways:
            await gateway.start()
        key = secrets.token_hex(8)

        async def process(limiter: RateLimiter, sizes: list[int]) -> int:
            passed = 0
            for size in sizes:
                decisions = await asyncio.gather(*(limiter.acquire(key) for _ in range(size)))
                passed += sum(decision.allowed for decision in decisions)
            return passed

        limiters = [RateLimiter(settings, gateway) for gateway in gateways]
        return sum(await asyncio.gather(*map(process, limiters, bursts)))
    finally:
        for gateway in gateways:
            await gateway.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 120),
    bursts=st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=4),
)
def test_all_processes_together_never_grant_more_than_the_limit_nor_much_less(
    redis_server: RedisServer, limit: int, bursts: list[list[int]]
) -> None:
    passed = asyncio.run(storm(redis_server.url, limit, bursts))
    wanted = sum(map(sum, bursts))
    processes = len(bursts)
    stranded = (processes - 1) * max(1, limit / max(10, 2 * processes))
    assert passed <= min(limit, wanted)
    assert passed >= min(limit - stranded, wanted)


def test_without_common_counters_they_would() -> None:
    assert asyncio.run(storm(None, 50, [[40, 40]] * 3)) == 150


async def test_most_requests_ask_nobody(start: Start) -> None:
    (limiter,) = await start(limit=600)
    before = leases()
    assert await granted(limiter, 299) == 299
    assert leases() - before <= 6
    assert isinstance(limiter.try_acquire("key"), Decision)


async def test_a_key_without_a_lease_is_not_decided_without_waiting(start: Start) -> None:
    (limiter,) = await start()
    assert limiter.try_acquire("key") is None
    assert (await limiter.acquire("key")).remaining == 59


async def test_concurrent_callers_of_a_key_share_a_fetch(start: Start) -> None:
    (limiter,) = await start(limit=600)
    before = leases()
    decisions = await asyncio.gather(*(limiter.acquire("key") for _ in range(200)))
    assert all(decision.allowed for decision in decisions)
    assert leases() - before == 1


async def test_without_sharing_each_caller_fetches(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[str, Any]):
        def get(self, _key: str, _default: object = None) -> Any:
            return None

    (limiter,) = await start(limit=600)
    monkeypatch.setattr(limiter, "_fetches", Forgetful())
    before = leases()
    await asyncio.gather(*(limiter.acquire("key") for _ in range(20)))
    assert leases() - before == 20


async def test_a_cancelled_caller_does_not_fail_the_others(start: Start) -> None:
    (limiter,) = await start()
    callers = [asyncio.create_task(limiter.acquire("key")) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [outcome.allowed for outcome in outcomes[1:] if isinstance(outcome, Decision)] == [True, True]


async def test_leases_shrink_towards_the_end_so_that_others_get_their_turn(start: Start) -> None:
    greedy, late = await start(2, limit=100)
    assert await granted(greedy, 90) == 90
    assert await granted(late, 1) == 1
    assert await granted(late, 20) >= 5


async def test_who_is_over_the_limit_is_told_without_asking_redis_again(start: Start) -> None:
    (limiter,) = await start(limit=5)
    assert await granted(limiter, 6) == 5
    before = leases()
    decision = limiter.try_acquire("key")
    assert decision is not None
    assert (decision.allowed, decision.remaining, leases()) == (False, 0, before)
    assert decision.retry_after == decision.reset_after
    assert 59 < decision.retry_after <= 60


async def end_of_window(limiter: RateLimiter, clock: Clock) -> None:
    """Let the window end in Redis and for the process."""
    await limiter._gateway.call(lambda redis: redis.delete(KEY), "del")  # noqa: SLF001
    clock.now += 60


async def test_a_window_ends_and_the_next_has_the_whole_limit(start: Start, clock: Clock) -> None:
    one, two = await start(2)
    assert await granted(one, 70) == 60
    assert await granted(two, 5) == 0
    await end_of_window(one, clock)
    assert await granted(two, 5) == 5
    assert await granted(one, 70) >= 60 - 6 - 5


async def test_a_window_has_an_end_in_redis(start: Start) -> None:
    (limiter,) = await start()
    await limiter.acquire("key")
    left = await limiter._gateway.call(lambda redis: redis.pttl(KEY), "pttl")  # noqa: SLF001
    assert isinstance(left, int)
    assert 0 < left <= 60_000


async def test_a_lease_is_not_spent_after_the_end_of_its_window(start: Start, clock: Clock) -> None:
    (limiter,) = await start()
    await limiter.acquire("key")
    assert limiter.try_acquire("key") is not None
    await end_of_window(limiter, clock)
    assert limiter.try_acquire("key") is None


async def test_a_silent_redis_delays_one_request_once(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (limiter,) = await start(redis_timeout=0.5)
    calls = 0
    call = limiter._gateway.call  # noqa: SLF001

    async def counting(operation: Any, name: str) -> Any:
        nonlocal calls
        calls += 1
        return await call(operation, name)

    monkeypatch.setattr(limiter._gateway, "call", counting)  # noqa: SLF001
    redis_server.pause()
    assert await granted(limiter, 70) == 60
    assert calls == 1
    assert limiter.try_acquire("another key") is not None


async def test_what_was_granted_before_redis_went_away_counts_after_it(redis_server: RedisServer, start: Start) -> None:
    one, two = await start(2)
    assert await granted(one, 20) == 20
    redis_server.stop()
    await away(one, two)
    # Its share is 30; what it holds of its last lease is part of it.
    assert await granted(one, 60) == 10
    assert await granted(two, 60) == 30


async def test_if_the_process_forgot_it_would_grant_its_share_anew(redis_server: RedisServer, start: Start) -> None:
    one, two = await start(2)
    assert await granted(one, 20) == 20
    redis_server.stop()
    await away(one, two)
    one._windows.clear()  # noqa: SLF001
    assert await granted(one, 60) == 30


async def test_who_was_over_the_limit_stays_over_it_when_redis_goes_away(
    redis_server: RedisServer, start: Start
) -> None:
    one, two = await start(2)
    assert await granted(one, 70) == 60
    assert await granted(two, 1) == 0
    redis_server.stop()
    await away(one, two)
    assert await granted(one, 10) + await granted(two, 10) == 0


async def grant_while_away(server: RedisServer, one: RateLimiter, two: RateLimiter) -> None:
    """Both learn of the window, Redis falls silent, both grant what is left of their share, and Redis is back."""
    assert await granted(one, 1) + await granted(two, 1) == 2
    server.pause()
    await away(one, two)
    assert await granted(one, 60) + await granted(two, 60) == 58
    server.resume()
    await back(one, two)


async def test_what_was_granted_while_redis_was_away_is_charged_when_it_is_back(
    redis_server: RedisServer, start: Start
) -> None:
    one, two = await start(2, redis_timeout=0.5)
    await grant_while_away(redis_server, one, two)
    # 12 were leased before, of which each held 5 to spend, and 48 came from the shares: the window is used up.
    assert await granted(one, 60) + await granted(two, 60) < 30
    used = await one._gateway.call(lambda redis: redis.hget(KEY, "used"), "hget")  # noqa: SLF001
    assert isinstance(used, bytes)
    assert int(used) >= 60


async def test_without_the_report_redis_would_grant_it_again(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await start(2, redis_timeout=0.5)
    await grant_while_away(redis_server, one, two)
    arguments = RateLimiter._arguments  # noqa: SLF001

    def silent(self: RateLimiter, *args: Any) -> list[Any]:
        limit, wanted, spread, name, _unreported, _total, ends_in = arguments(self, *args)
        return [limit, wanted, spread, name, 0, 0, ends_in]

    monkeypatch.setattr(RateLimiter, "_arguments", silent)
    assert await granted(one, 60) + await granted(two, 60) >= 42


async def test_a_redis_that_lost_its_memory_is_told_what_was_used(redis_server: RedisServer, start: Start) -> None:
    one, two = await start(2)
    assert await granted(one, 42) == 42
    redis_server.stop()
    redis_server.start()
    await away_and_back(one, two)
    more = await granted(one, 60)
    assert 42 + more <= 60
    assert await granted(two, 60) <= 60 - 42 - more


async def test_if_only_news_were_told_it_would_grant_a_second_limit(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = limiter_module._LEASE._text.replace("unreported = total", "unreported = 0")  # noqa: SLF001
    monkeypatch.setattr(limiter_module, "_LEASE", Script(text))
    one, two = await start(2)
    assert await granted(one, 42) == 42
    redis_server.stop()
    redis_server.start()
    await away_and_back(one, two)
    assert 42 + await granted(one, 60) > 60


async def away_and_back(*limiters: RateLimiter) -> None:
    for limiter in limiters:
        await limiter._gateway.call(lambda redis: redis.ping(), "ping")  # noqa: SLF001
    await back(*limiters)


async def test_a_window_begun_without_redis_is_taken_over_by_it(
    redis_server: RedisServer, start: Start, clock: Clock
) -> None:
    one, two = await start(2)
    redis_server.stop()
    await away(one, two)
    assert await granted(one, 30) == 30
    clock.now += 15
    redis_server.start()
    await back(one, two)
    decision = await one.acquire("key")
    # Its own window goes on in Redis: 45 of its 60 seconds are left, and 30 of the 60 requests are gone.
    assert decision.allowed
    assert decision.remaining == 29
    assert 44 < decision.reset_after <= 45
    assert await granted(two, 60) + await granted(one, 60) <= 29


async def test_a_lost_script_is_sent_again(start: Start) -> None:
    (limiter,) = await start()
    await limiter.acquire("key")
    await limiter._gateway.call(lambda redis: redis.script_flush(), "flush")  # noqa: SLF001
    assert (await limiter.acquire("another")).remaining == 59
    assert limiter._gateway.available  # noqa: SLF001


async def test_what_is_given_back_is_had_again_and_counted_once_for_everybody(start: Start) -> None:
    one, other = await start(2, limit=20)
    for _ in range(5):
        one.give_back("key", await one.acquire("key"))
    assert await granted(one, 40) + await granted(other, 40) == 20
