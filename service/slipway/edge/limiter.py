"""Rate limits: a fixed window for each key, counted in Redis, spent from leases so that most requests ask nobody.

Whose clock: with Redis a window starts at the first lease of a key and ends when its counter in Redis expires, for all
processes alike. Each process measures the time left on its own monotonic clock from before it asked, so that it never
spends a token of a window that is over. Without Redis a window starts at the process's first request for the key.

Failure policy: no error of Redis reaches a request, and a request waits at most `redis_timeout`. While Redis is away a
process first spends what it leased, then grants its share (`rate_limit` / `rate_limit_replicas`, at least 1) less all
that it granted in the window before, and never more than Redis last said was left. What it granted so is reported with
its next lease and charged to the common counter; likewise everything of its window, where Redis lost its memory.

Bounds, for processes of one setting, n <= `rate_limit_replicas` of them:
  - while Redis is there, all together grant at most `rate_limit` in a window;
  - in a window in which Redis went away: less than twice that, also when it comes back; less than three times when it
    comes back without its memory (what one process granted, only Redis can tell the others);
  - leased and unspent tokens of others may cost a busy process up to (n - 1) * `rate_limit` / max(10, 2n), under half;
  - more than `MAX_KEYS` keys at once: the windows that began first are forgotten, with what was granted locally.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from time import monotonic
from typing import Final

from prometheus_client import Counter

from slipway.redis.gateway import RedisGateway, Script
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

MAX_KEYS: Final = 20_000
"""Windows held in memory, about 300 bytes each."""

_DECISIONS = Counter(
    "slipway_rate_limit_decisions_total", "Requests by what the rate limit said.", ("result",), registry=REGISTRY
)
_allowed = _DECISIONS.labels("allowed").inc
_limited = _DECISIONS.labels("limited").inc
_LEASES = Counter(
    "slipway_rate_limit_leases_total",
    "Leases fetched from Redis, and windows in which a process began to use its local share.",
    ("source",),
    registry=REGISTRY,
)
_leased = _LEASES.labels("redis").inc
_shared = _LEASES.labels("local").inc

_LEASE = Script("""
local limit, wanted, spread = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local name, unreported, total, ends_in = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local window = redis.call('HGET', KEYS[1], 'window')
if not window then
  window = name
  redis.call('HSET', KEYS[1], 'window', window, 'used', 0)
  redis.call('PEXPIRE', KEYS[1], ends_in)
  unreported = total
elseif window ~= name then
  unreported = total
end
local left = math.max(limit - redis.call('HINCRBY', KEYS[1], 'used', unreported), 0)
local lease = math.max(math.min(math.floor(limit / 10), math.floor(left / spread)), 1)
local granted = math.min(left, math.max(wanted, lease))
redis.call('HINCRBY', KEYS[1], 'used', granted)
return {granted, left - granted, redis.call('PTTL', KEYS[1]), window}
""")
"""Key; limit, tokens wanted at least, twice the number of processes; and of the caller's running window: its name, what
it granted and hasn't told yet, all that it took, ms until its end. A name that Redis doesn't know belongs to a window
that was never counted there, or is forgotten: then all that was taken is charged. The answer: tokens granted, tokens
left for everybody, ms until the end, name of the window that counts."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass. Counts are requests, times seconds; `remaining` is what this process knows of."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    retry_after: float
    window: str
    """The name of the window that it was counted in."""


@dataclass(slots=True)
class _Window:
    """What this process knows of one key's window; it ends at `ends` by the limiter's clock."""

    name: str
    ends: float
    beyond: int
    """Tokens left for everybody when Redis was last heard, less what was granted from the local share since."""
    tokens: int = 0
    """Leased and not yet spent."""
    leased: int = 0
    shared: int = 0
    """Granted from the local share, in all."""
    unreported: int = 0
    """Of these, what Redis hasn't been told."""


class _Fetch:
    """A lease on its way, and how many wait for it; `task` tells whether Redis answered."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.task: asyncio.Task[bool] | None = None


class RateLimiter:
    """One process's part in the limits: `try_acquire(key)`, and `acquire(key)` where that says None.

    Keys are short (an id, an address); the caller sees to it.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: RedisGateway,
        *,
        clock: Callable[[], float] = monotonic,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._limit = settings.rate_limit
        self._length = settings.rate_limit_window
        self._replicas = settings.rate_limit_replicas
        self._share = max(1, settings.rate_limit // settings.rate_limit_replicas)
        self._patience = settings.redis_timeout
        self._max_keys = max_keys
        self._windows: dict[str, _Window] = {}
        self._fetches: dict[str, _Fetch] = {}
        self._process = secrets.token_hex(8)
        self._numbers = count()

    def try_acquire(self, key: str) -> Decision | None:
        """Decide without waiting; None when a lease must be fetched: call `acquire`."""
        window = self._windows.get(key)
        if window is not None and (left := window.ends - self._clock()) > 0:
            if window.tokens > 0:
                window.tokens -= 1
                _allowed()
                return Decision(True, self._limit, window.tokens + window.beyond, left, 0.0, window.name)
            if window.beyond <= 0:
                _limited()
                return Decision(False, self._limit, 0, left, left, window.name)
        if self._gateway.available:
            return None
        return self._from_share(key)

    async def acquire(self, key: str) -> Decision:
        """Decide, with a lease fetched from Redis if need be; after `redis_timeout` the local share decides.

        Callers of one key share a fetch. A cancelled caller doesn't disturb the others.
        """
        try:
            async with asyncio.timeout(self._patience):
                answered = True
                while answered:
                    decision = self.try_acquire(key)
                    if decision is not None:
                        return decision
                    answered = await self._lease(key)
        except TimeoutError:
            pass
        return self.try_acquire(key) or self._from_share(key)

    def give_back(self, key: str, decision: Decision) -> None:
        """Take back what `decision` granted: another request of the key may have it, if its window still runs."""
        window = self._running(key)
        if window is None or not decision.allowed or decision.window != window.name:
            return
        if window.unreported > 0:
            window.shared -= 1
            window.unreported -= 1
            window.beyond += 1
        else:  # Redis has counted it: it is leased still
            window.tokens += 1

    def __len__(self) -> int:
        """Number of windows held."""
        return len(self._windows)

    def _running(self, key: str) -> _Window | None:
        window = self._windows.get(key)
        return window if window is not None and window.ends > self._clock() else None

    def _from_share(self, key: str) -> Decision:
        window = self._running(key) or self._hold(key, self._new_name(), self._clock() + self._length)
        left = window.ends - self._clock()
        granted = window.leased - window.tokens + window.shared
        remaining = min(self._share - granted, window.beyond)
        if remaining <= 0:
            _limited()
            return Decision(False, self._limit, 0, left, left, window.name)
        if window.shared == 0:
            _shared()
        window.shared += 1
        window.unreported += 1
        window.beyond -= 1
        _allowed()
        return Decision(True, self._limit, remaining - 1, left, 0.0, window.name)

    async def _lease(self, key: str) -> bool:
        """Wait for the one fetch of this key; whether Redis answered."""
        fetch = self._fetches.get(key)
        if fetch is None or fetch.task is None:
            fetch = self._fetches[key] = _Fetch()
            fetch.task = asyncio.create_task(self._fetch(key, fetch), name="rate-limit-lease")
        fetch.waiting += 1
        return await asyncio.shield(fetch.task)

    async def _fetch(self, key: str, fetch: _Fetch) -> bool:
        try:
            asked_at = self._clock()
            window = self._running(key)
            reported = window.unreported if window else 0
            arguments = self._arguments(window, fetch.waiting, asked_at)
            reply = await self._gateway.call(
                lambda redis: _LEASE.run(redis, [f"slipway:rate:{key}"], arguments), "rate_limit.lease"
            )
            if not isinstance(reply, list):
                return False
            _leased()
            if window is not None:
                window.unreported -= reported
            granted, beyond, ends_in, name = reply
            self._credit(key, granted, beyond, asked_at + ends_in / 1000, name.decode())
            return True
        finally:
            self._fetches.pop(key, None)

    def _arguments(self, window: _Window | None, wanted: int, now: float) -> list[bytes | str | int]:
        common: list[bytes | str | int] = [self._limit, wanted, 2 * self._replicas]
        if window is None:
            return [*common, self._new_name(), 0, 0, self._length * 1000]
        ends_in = max(1, math.ceil((window.ends - now) * 1000))
        return [*common, window.name, window.unreported, window.leased + window.shared, ends_in]

    def _credit(self, key: str, granted: int, beyond: int, ends: float, name: str) -> None:
        window = self._running(key) or self._hold(key, name, ends)
        window.name, window.ends, window.beyond = name, ends, beyond
        window.tokens += granted
        window.leased += granted

    def _hold(self, key: str, name: str, ends: float) -> _Window:
        """Begin a window. They are kept in the order in which they began, which is about the one in which they end."""
        self._windows.pop(key, None)
        now = self._clock()
        for oldest in list(islice(self._windows, 2)):
            if self._windows[oldest].ends <= now or len(self._windows) >= self._max_keys:
                del self._windows[oldest]
        window = self._windows[key] = _Window(name, ends, self._limit)
        return window

    def _new_name(self) -> str:
        return f"{self._process}-{next(self._numbers)}"
