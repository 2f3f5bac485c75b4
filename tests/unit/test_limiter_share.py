"""The rate limiter as it works where no Redis is configured, by a clock that the test turns."""

from __future__ import annotations

import pytest

from servers.clock import Clock
from slipway.edge.limiter import Decision, RateLimiter
from slipway.redis.gateway import RedisGateway
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, *, max_keys: int = 100, **changes: int) -> RateLimiter:
    settings = Settings(**{"rate_limit": 10, "rate_limit_window": 60, **changes})  # type: ignore[arg-type]
    return RateLimiter(settings, RedisGateway(settings), clock=clock, max_keys=max_keys)


def decide(limiter: RateLimiter, key: str) -> Decision:
    decision = limiter.try_acquire(key)
    assert decision is not None
    return decision


def granted(limiter: RateLimiter, key: str, attempts: int) -> int:
    return sum(decide(limiter, key).allowed for _ in range(attempts))


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_a_key_gets_its_limit_in_a_window_and_again_in_the_next(clock: Clock) -> None:
    limits = limiter(clock)
    assert granted(limits, "key", 25) == 10
    clock.now += 59.9
    assert granted(limits, "key", 5) == 0
    clock.now += 0.1
    assert granted(limits, "key", 25) == 10


def test_keys_do_not_share_a_limit(clock: Clock) -> None:
    limits = limiter(clock)
    assert granted(limits, "one", 25) == 10
    assert granted(limits, "another", 25) == 10


def test_a_decision_tells_what_the_headers_need(clock: Clock) -> None:
    limits = limiter(clock, rate_limit=2)
    first = decide(limits, "key")
    assert first == Decision(True, 2, 1, 60.0, 0.0, first.window)
    clock.now += 20
    assert decide(limits, "key") == Decision(True, 2, 0, 40.0, 0.0, first.window)
    clock.now += 15
    assert decide(limits, "key") == Decision(False, 2, 0, 25.0, 25.0, first.window)


@pytest.mark.parametrize(("limit", "replicas", "share"), [(10, 3, 3), (10, 1, 10), (2, 5, 1)])
def test_several_processes_have_a_share_each_and_never_none(
    clock: Clock, limit: int, replicas: int, share: int
) -> None:
    limits = limiter(clock, rate_limit=limit, rate_limit_replicas=replicas)
    assert granted(limits, "key", 25) == share


async def test_acquire_decides_the_same_without_waiting(clock: Clock) -> None:
    limits = limiter(clock)
    assert [(await limits.acquire("key")).allowed for _ in range(12)] == [True] * 10 + [False] * 2


def test_memory_is_bounded_by_forgetting_the_windows_that_began_first(clock: Clock) -> None:
    limits = limiter(clock, max_keys=100)
    for number in range(1000):
        decide(limits, f"key-{number}")
    assert len(limits) == 100
    assert decide(limits, "key-999").remaining == 8
    assert decide(limits, "key-0").remaining == 9


def test_windows_that_are_over_are_swept_as_new_ones_begin(clock: Clock) -> None:
    limits = limiter(clock, max_keys=100)
    for number in range(50):
        decide(limits, f"old-{number}")
    clock.now += 60
    for number in range(25):
        decide(limits, f"new-{number}")
    assert len(limits) == 25


def test_decisions_and_local_windows_are_counted(clock: Clock) -> None:
    names = [
        ("slipway_rate_limit_decisions_total", {"result": "allowed"}),
        ("slipway_rate_limit_decisions_total", {"result": "limited"}),
        ("slipway_rate_limit_leases_total", {"source": "local"}),
        ("slipway_rate_limit_leases_total", {"source": "redis"}),
    ]
    before = [metric(name, **labels) for name, labels in names]
    granted(limiter(clock), "key", 13)
    after = [metric(name, **labels) for name, labels in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [10, 3, 1, 0]
    assert metric("slipway_degraded", dependency="redis") == 0


@pytest.mark.parametrize(("replicas", "share"), [(1, 10), (3, 3)])
def test_what_is_given_back_may_be_had_again_once(clock: Clock, replicas: int, share: int) -> None:
    limits = limiter(clock, rate_limit_replicas=replicas)
    first = decide(limits, "key")
    limits.give_back("key", first)
    assert decide(limits, "key").remaining == first.remaining
    assert granted(limits, "key", 25) == share - 1


def test_what_was_refused_or_counted_in_another_window_is_not_given_back(clock: Clock) -> None:
    limits = limiter(clock, rate_limit=1)
    first, refused = decide(limits, "key"), decide(limits, "key")
    limits.give_back("key", refused)
    assert granted(limits, "key", 5) == 0
    limits.give_back("other", first)
    assert granted(limits, "other", 5) == 1
    clock.now += 60
    assert granted(limits, "key", 1) == 1
    limits.give_back("key", first)
    assert granted(limits, "key", 5) == 0
