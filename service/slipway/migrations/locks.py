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
from dataclasses import dataclass
from time import monotonic

import asyncpg

from slipway.migrations.errors import DATABASE_ERRORS
from slipway.migrations.session import Report, connect
from slipway.settings import Settings

LOCK_STATES = frozenset({"55P03", "40P01"})
"""SQLSTATEs after which a try is repeated: lock_timeout ran out, and deadlock."""

ATTEMPTS = 30
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
SAMPLE_INTERVAL = 0.25
TELL_AFTER = 30.0
"""A wait without `lock_timeout` (a concurrent index build) is told of this often, seconds."""

_BLOCKERS = """
    SELECT pid, coalesce(usename::text, backend_type, 'unknown'), state,
           extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::float8
    FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1)) ORDER BY pid
"""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that holds the lock. `state` and `age` (of its transaction, seconds) may be hidden from this login."""

    pid: int
    user: str
    state: str | None
    age: float | None

    def __str__(self) -> str:
        if self.state is None or self.age is None:
            return f"pid {self.pid} (user {self.user}; age and state need pg_read_all_stats)"
        return f"pid {self.pid} (user {self.user}, {self.state}, for {self.age:.0f} s)"


def describe_blockers(blockers: tuple[Blocker, ...]) -> str:
    return ", ".join(map(str, blockers)) or "a session that is gone by now"


def pause_before(attempt: int) -> float:
    """Seconds to stand back before try number `attempt` (2, 3 …): doubled each time up to a bound, with jitter."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt - 2, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter


class BlockerWatch:
    """Looks from a second session who blocks the first, as afterwards nobody knows. Costs no try when it can't look."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.last: tuple[Blocker, ...] = ()

    async def look(self, connection: asyncpg.Connection, pid: int) -> None:
        told = monotonic()
        while True:
            found = tuple(Blocker(*row) for row in await connection.fetch(_BLOCKERS, pid))
            self.last = found or self.last
            if not found:
                told = monotonic()
            elif monotonic() - told > TELL_AFTER:
                self._report(f"Waiting for {describe_blockers(found)}.")
                told = monotonic()
            await asyncio.sleep(SAMPLE_INTERVAL)


@asynccontextmanager
async def watching(settings: Settings, pid: int, report: Report) -> AsyncIterator[BlockerWatch]:
    """Watch the session `pid` for as long as the block runs."""
    watch = BlockerWatch(report)

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
