"""Locks of tables: who holds one that a revision waits for, and how long to stand back before trying again.

A revision that waits for a table's lock stops everyone who comes after it. Hence a short `lock_timeout`, then a pause
in which the table serves on, then another try; the message names who is in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import asyncpg

from slipway.migrations.blockers import Blocker, blocking, describe_blockers
from slipway.migrations.errors import DATABASE_ERRORS
from slipway.migrations.progress import Progress, Rhythm, Waiting, Working
from slipway.migrations.session import connect
from slipway.settings import Settings

LOCK_STATES = frozenset({"55P03", "40P01"})
"""SQLSTATEs after which a try is repeated: lock_timeout ran out, and deadlock."""

ATTEMPTS = 30
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
SAMPLE_INTERVAL = 0.25
FREE_AFTER = 2.0
"""Seconds without a blocker after which it goes on; before that it may only be between two tries."""

TELL_AFTER = 30.0
"""A wait without `lock_timeout` (a concurrent index build) is told of to people this often, seconds."""


def pause_before(attempt: int) -> float:
    """Seconds to stand back before try number `attempt` (2, 3 …): doubled each time up to a bound, with jitter."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt - 2, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter


class BlockerWatch:
    """Looks from a second session who blocks the first, as afterwards nobody knows. Costs no try when it can't look."""

    def __init__(self, progress: Progress, subject: str) -> None:
        self._progress = progress
        self._subject = subject
        self._rhythm = Rhythm()
        self._waits = False
        self._stands_back = False
        self._blocked_at = 0.0
        self.last: tuple[Blocker, ...] = ()

    async def look(self, connection: asyncpg.Connection, pid: int) -> None:
        told = monotonic()
        while True:
            found = await blocking(connection, pid)
            self.last = found or self.last
            self._tell_program(found)
            if not found:
                told = monotonic()
            elif monotonic() - told > TELL_AFTER:
                self._progress.report(f"Waiting for {describe_blockers(found)}.")
                told = monotonic()
            await asyncio.sleep(SAMPLE_INTERVAL)

    async def stand_back(self, seconds: float) -> None:
        """Pause between two tries; that nobody blocks meanwhile doesn't mean that the lock was got."""
        message = f"{self._subject} got no lock because of {describe_blockers(self.last)}; next try in {seconds:.1f} s."
        self._progress.listen(Waiting("WaitingForLock", message))
        self._waits = self._stands_back = True
        await asyncio.sleep(seconds)
        self._stands_back = False

    def _tell_program(self, found: tuple[Blocker, ...]) -> None:
        if found or self._stands_back:
            self._blocked_at = monotonic()
        if found:
            self._waits = True
            if self._rhythm.is_due():
                message = f"{self._subject} waits for a lock that is held by {describe_blockers(found)}."
                self._progress.listen(Waiting("WaitingForLock", message))
        elif self._waits and monotonic() - self._blocked_at > FREE_AFTER:
            self._waits = False
            self._rhythm.start_over()
            self._progress.listen(Working(f"{self._subject} runs."))


@asynccontextmanager
async def watching(settings: Settings, pid: int, progress: Progress, subject: str) -> AsyncIterator[BlockerWatch]:
    """Watch the session `pid`, which works on `subject`, for as long as the block runs."""
    watch = BlockerWatch(progress, subject)

    async def run() -> None:
        with contextlib.suppress(*DATABASE_ERRORS):
            connection = await connect(settings, application_name="slipway db watch", statement_timeout="5000")
            try:
                await watch.look(connection, pid)
            finally:
                connection.terminate()

    task = asyncio.create_task(run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
