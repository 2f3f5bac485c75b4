"""Read-through cache in two levels: this process (a second at most) and Redis (`cache_ttl` at most).

Failure policy: without Redis the first level still serves, and a read costs a load; no error of Redis reaches a reader.
An error of `load` reaches everybody who waits for it and isn't kept.

How old a value may be, counted from the start of its load:
  - `ttl`, whatever happens: processes killed, invalidations lost, Redis paused and back.
  - after `invalidate()` returned: 0 in that process, `local_max_age` in the others. When Redis was away at that moment,
    its return (as this process sees it) waits for the tombstone; others may notice the return up to a second earlier.

What keeps an old value from coming back: a reader remembers when (by the clock of Redis) it found nothing, and its
value is taken only within `TOMBSTONE` seconds of that, and only where nothing lies. `invalidate()` leaves a tombstone
that lies there for as long, hence longer than any reader that asked before it.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from time import monotonic
from typing import Final

from prometheus_client import Counter
from redis.asyncio import Redis

from slipway.context.deadline import set_deadline
from slipway.redis.gateway import AWAY, RedisGateway, Script
from slipway.telemetry.registry import REGISTRY

TOMBSTONE = 5.0
"""Seconds that a tombstone lies, and hence that a load may take if its value is to be kept in Redis."""

STILL_LIES: Final = TOMBSTONE - 1.0
"""Seconds for which a process trusts that a tombstone of its own lies; what it spares is for clocks that differ."""

LOAD_TIME: Final = 10.0
"""Seconds that a load may take. It has its own deadline: it is not for the first caller alone."""

LOCAL_AGE: Final = 1.0
"""Seconds that a process serves a value without asking Redis again; half of `ttl` where that is less."""

LOCAL_BYTES: Final = 8 * 1024 * 1024
"""Memory for the values of one process."""

FILLS: Final = 64
"""Values on their way to Redis at once; further ones are not kept there."""

OVERDUE: Final = 10_000
"""Keys invalidated while Redis was away that are remembered for its return; older ones live on up to `ttl`."""

BURIED: Final = 10_000
"""Keys whose tombstones a process remembers; older ones are laid again."""

BATCH: Final = 500
"""Tombstones written by one command."""

ENTRY_OVERHEAD: Final = 250
"""Bytes of memory that an entry takes beside its value, roughly."""

_REQUESTS = Counter("slipway_cache_requests_total", "Reads of the cache by result.", ("result",), registry=REGISTRY)
_local_hit = _REQUESTS.labels("local").inc
_redis_hit = _REQUESTS.labels("redis").inc
_miss = _REQUESTS.labels("miss").inc
_bypass = _REQUESTS.labels("bypass").inc

# A value is stored with "=" before it; "-" alone is a tombstone.
_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "

_READ = Script(
    "local found = redis.call('GET', KEYS[1]) "
    "if found == '-' then return false end "
    "if found then return found end " + _NOW + "return now"
)
"""Key → the stored bytes; or None at a tombstone; or the time of Redis in ms, where there is nothing."""

_FILL = Script(
    _NOW + "local left = ARGV[3] - now "
    "if now > tonumber(ARGV[2]) or left < 1 then return false end "
    "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', left)"
)
"""Key; value, last moment to store it, moment it ends (ms by Redis). A command that was held up stores nothing."""

_BURY = Script("for _, key in ipairs(KEYS) do redis.call('SET', key, '-', 'PX', ARGV[1]) end return #KEYS")


class LocalLevel:
    """Values of this process, each until its own moment; the least recently used go when `max_bytes` are held."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._clock = clock

    def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: str, value: bytes, until: float) -> None:
        self.drop(key)
        size = len(value) + ENTRY_OVERHEAD
        # One large value isn't worth many small ones.
        if until <= self._clock() or size > self._max_bytes / 8:
            return
        self._entries[key] = (value, until)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[0]) + ENTRY_OVERHEAD

    def __len__(self) -> int:
        return len(self._entries)


class Cache:
    """Values are bytes: what Redis holds, what can't be changed by the one who got it, and often what is sent on.

    Keys name the form of the value too (`user:1:<id>`), so that two releases don't read each other's.
    """

    def __init__(
        self,
        gateway: RedisGateway,
        ttl: float,
        *,
        local_max_age: float = LOCAL_AGE,
        local_max_bytes: int = LOCAL_BYTES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._gateway = gateway
        self._ttl = ttl
        # The two ages follow each other, a copy taken from Redis at its last moment: together they make `ttl`.
        self._local_age = min(local_max_age, ttl / 2)
        self._redis_age = ttl - self._local_age
        self._clock = clock
        self._local = LocalLevel(local_max_bytes, clock)
        self._flights: dict[str, asyncio.Task[bytes | None]] = {}
        self._fills: set[asyncio.Task[object]] = set()
        self._buried: dict[str, float] = {}
        """Until when a tombstone of ours lies for certain, in the order of these moments."""
        self._doomed: dict[str, None] = {}
        self._burial: asyncio.Task[None] | None = None
        """What takes along the keys that are in `_doomed`, until it is sent."""
        self._overdue: dict[str, None] = {}
        gateway.before_return(self._bury_overdue)

    def peek(self, key: str) -> bytes | None:
        """What this process holds, without waiting; None says nothing about what there is."""
        value = self._local.get(key)
        if value is not None:
            _local_hit()
        return value

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """The value from the nearest level, or from `load`; concurrent readers of a key share one load.

        `load` reads committed data and is limited to `LOAD_TIME`, whatever time its caller has left. None
        from it is passed on and not kept. A cancelled reader doesn't disturb the others.
        """
        if self._ttl == 0:
            _bypass()
            return await load()
        value = self.peek(key)
        if value is not None:
            return value
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(key, load), name="cache-flight")
        return await asyncio.shield(flight)

    async def invalidate(self, *keys: str) -> None:
        """Forget these keys, everywhere; call it after the commit. Waits for Redis at most `redis_timeout`.

        Where a tombstone lies already, it does for this commit as well: who found nothing there did so before it, and
        is too late once it is gone. When Redis is away, its return is held back until it was told (while this process
        lives).
        """
        self._forget(keys)
        now = self._clock()
        unburied = [key for key in keys if self._buried.get(key, now) <= now or not self._gateway.available]
        if unburied:
            self._doomed.update(dict.fromkeys(unburied))
            if self._burial is None:
                self._burial = asyncio.create_task(self._bury_together(), name="cache-invalidate")
            await asyncio.shield(self._burial)
            # Again: somebody may have read from Redis before the tombstone lay there.
            self._forget(keys)

    async def _bury_together(self) -> None:
        """One command for all that is invalidated in this turn of the loop: commits end several to a turn."""
        keys, self._doomed, self._burial = tuple(self._doomed), {}, None
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            until = self._clock() + STILL_LIES
            if await self._gateway.call(partial(_bury, batch), "cache.invalidate") is AWAY:
                self._remember(batch)
            else:
                self._note_buried(batch, until)

    def _note_buried(self, keys: tuple[str, ...], until: float) -> None:
        for key in keys:
            self._buried.pop(key, None)
            self._buried[key] = until
        for key in list(islice(self._buried, max(0, len(self._buried) - BURIED))):
            del self._buried[key]

    def _forget(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._local.drop(key)
            # A flight that is under way may carry the old value: those who wait get it, nobody else does.
            self._flights.pop(key, None)

    def _remember(self, keys: tuple[str, ...]) -> None:
        if self._gateway.configured:
            self._overdue.update(dict.fromkeys(keys))
            for key in list(islice(self._overdue, max(0, len(self._overdue) - OVERDUE))):
                del self._overdue[key]

    async def _bury_overdue(self, redis: Redis) -> bool:
        # It may have lost its memory.
        self._buried.clear()
        batch = tuple(islice(self._overdue, BATCH))
        if not batch:
            return False
        await _bury(batch, redis)
        for key in batch:
            self._overdue.pop(key, None)
        return True

    async def _fly(self, key: str, load: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        flight = asyncio.current_task()
        # In this task's own context: the deadline of the reader who came first must not fail the others.
        set_deadline(monotonic() + LOAD_TIME)
        try:
            began = self._clock()
            found = await self._gateway.call(lambda redis: _READ.run(redis, [_name(key)], []), "cache.read")
            if isinstance(found, bytes) and found.startswith(b"="):
                _redis_hit()
                value: bytes | None = found[1:]
            else:
                _miss()
                began = self._clock()
                async with asyncio.timeout(LOAD_TIME):
                    value = await load()
            if value is not None and self._flights.get(key) is flight:
                self._local.put(key, value, began + self._local_age)
                if isinstance(found, int):
                    self._fill_later(key, value, found)
            return value
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _fill_later(self, key: str, value: bytes, asked_at: int) -> None:
        """Store the value in Redis without anybody waiting for it; `asked_at` is in ms of Redis' clock."""
        if len(self._fills) >= FILLS:
            return
        age = self._redis_age * random.uniform(0.9, 1)  # noqa: S311 - jitter, no secret
        arguments: list[bytes | str | int] = [
            b"=" + value,
            asked_at + int(TOMBSTONE * 1000),
            asked_at + int(age * 1000),
        ]
        fill: asyncio.Task[object] = asyncio.create_task(
            self._gateway.call(lambda redis: _FILL.run(redis, [_name(key)], arguments), "cache.fill"), name="cache-fill"
        )
        self._fills.add(fill)
        fill.add_done_callback(self._fills.discard)


def _name(key: str) -> str:
    return f"slipway:cache:{key}"


async def _bury(keys: tuple[str, ...], redis: Redis) -> None:
    await _BURY.run(redis, [_name(key) for key in keys], [int(TOMBSTONE * 1000)])
