"""What is due when: each resource is looked at by one worker at a time, and again after a wake or a failure."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from slipway_operator import logs, telemetry
from slipway_operator.cluster import ApiError

log = logging.getLogger(__name__)

WORKERS = 8
LIMIT = 10_000
"""Most resources that wait at a time."""
LONGEST_LOOK = 120.0
"""Seconds after which a look is broken off and counts as failed: what it waits for has timeouts of its own."""
MOST_VOID = 16
"""Entries of the heap for each key that waits, before those that are void are swept out."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


class Reconciler(Protocol):
    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look; None: only when woken. After what it raises it is tried again."""
        ...


@dataclass(slots=True)
class _Failures:
    """`pause`: seconds at most, after the last of them."""

    count: int = 0
    told: str = ""
    pause: float = FIRST_PAUSE / 2


class Worklist:
    """Deduplicated keys with due times, worked off in their order.

    A wake during a look causes another look. A failing key is looked at again after 1 s, doubled up to 60 s, with
    jitter; a wake shortens that to 1 s, so that neither what mended it nor a stream of events counts too much. Only the
    event loop's thread may call.
    """

    def __init__(
        self,
        reconcilers: Mapping[str, Reconciler],
        *,
        workers: int = WORKERS,
        limit: int = LIMIT,
        longest_look: float = LONGEST_LOOK,
        jitter: random.Random | None = None,
    ) -> None:
        self._reconcilers = reconcilers
        self._workers = workers
        self._limit = limit
        self._longest_look = longest_look
        self._jitter = jitter or random.Random()  # noqa: S311 - it only spreads load
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: set[Key] = set()
        self._woken: set[Key] = set()
        self._failures: dict[Key, _Failures] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self, key: Key) -> None:
        """Look at `key` as soon as a worker is free. A full queue refuses keys that it doesn't hold, and says so."""
        if key in self._running:
            self._woken.add(key)
        else:
            self._schedule(key, self._pause_of_wake(key))

    def forget(self, key: Key) -> None:
        """The resource is gone: no more looks, unless it is woken anew. A look that runs ends as it will."""
        self._due.pop(key, None)
        self._woken.discard(key)
        self._failures.pop(key, None)

    def waiting(self) -> dict[str, int]:
        """How many keys are due `now` and `later`, and `running`."""
        return self._waiting(_time())

    def _waiting(self, now: float) -> dict[str, int]:
        due = sum(at <= now for at in self._due.values())
        return {"now": due, "later": len(self._due) - due, "running": len(self._running)}

    def start(self) -> list[asyncio.Task[None]]:
        """The workers' tasks: one that ends before `stop` has failed."""
        clock = asyncio.get_running_loop().time  # metrics may be read by other threads, and after the loop's end

        def count(state: str) -> float:
            return float(self._waiting(clock())[state])

        for state in ("now", "later", "running"):
            telemetry.QUEUE.labels(state).set_function(partial(count, state))
        self._tasks = [asyncio.create_task(self._work(), name=f"worker {n}") for n in range(self._workers)]
        return self._tasks

    async def stop(self, within: float) -> bool:
        """Take up nothing more and wait `within` seconds for what runs; True: all of it ended by itself."""
        self._stopping = True
        self._tell()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=within)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    def _pause_of_wake(self, key: Key) -> float:
        return FIRST_PAUSE if key in self._failures else 0.0

    def _schedule(self, key: Key, delay: float) -> None:
        at = _time() + max(delay, 0.0)
        held = self._due.get(key)
        if held is not None and held <= at:
            return
        if held is None and len(self._due) >= self._limit:
            telemetry.REFUSED.inc()
            log.error("%s %s/%s isn't looked at: %d resources wait already.", *key, self._limit)
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, next(self._order), key))
        if len(self._heap) > MOST_VOID * (len(self._due) + 1):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _work(self) -> None:
        while (key := await self._take()) is not None:
            try:
                delay = await self._look(key)
            finally:
                self._running.discard(key)
            if key in self._woken:
                self._woken.discard(key)
                delay = self._pause_of_wake(key)
            if delay is not None:
                self._schedule(key, delay)

    async def _take(self) -> Key | None:
        """The next key that is due, waiting for it; None when it is time to stop."""
        while not self._stopping:
            changed, soonest = self._changed, self._soonest()
            if soonest is not None and soonest[0] <= _time():
                _, _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._running.add(key)
                return key
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if soonest is None else soonest[0]):
                    await changed.wait()
        return None

    def _soonest(self) -> tuple[float, int, Key] | None:
        """The entry that is due first; entries that a later `wake` or `forget` made void are dropped on the way."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) == at:
                return self._heap[0]
            heapq.heappop(self._heap)
        return None

    async def _look(self, key: Key) -> float | None:
        """One look, counted; the pause after it."""
        started = time.monotonic()
        with logs.about(*key):
            try:
                async with asyncio.timeout(self._longest_look):
                    delay = await self._reconcilers[key.kind].reconcile(key)
            except Exception as error:  # noqa: BLE001 - one resource's failure is never another's
                delay = self._failed(key, error)
            else:
                self._succeeded(key)
        telemetry.DURATION.labels(key.kind).observe(time.monotonic() - started)
        return delay

    def _failed(self, key: Key, error: Exception) -> float:
        telemetry.RECONCILES.labels(key.kind, "failed").inc()
        telemetry.ERRORS.labels(key.kind, type(error).__name__).inc()
        failures = self._failures.setdefault(key, _Failures())
        failures.count += 1
        told = f"{type(error).__name__}: {error}"
        if told != failures.told:
            failures.told = told
            # What the cluster refuses says all by itself; anything else is a fault of ours, and the trace leads to it.
            log.warning("Will look again: %s", told, exc_info=None if isinstance(error, ApiError) else error)
        failures.pause = min(LONGEST_PAUSE, 2 * failures.pause)
        return failures.pause * self._jitter.uniform(0.5, 1.0)

    def _succeeded(self, key: Key) -> None:
        telemetry.RECONCILES.labels(key.kind, "succeeded").inc()
        failures = self._failures.pop(key, None)
        if failures is not None:
            log.info("Works again after %d failures.", failures.count)


def _time() -> float:
    return asyncio.get_running_loop().time()
