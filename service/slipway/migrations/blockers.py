"""Sessions that are in the way of ours: who they are and for how long, never what they run."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

_FACTS = """
    SELECT pid, coalesce(usename::text, backend_type, 'unknown'), state,
           extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::float8
    FROM pg_stat_activity WHERE pid = ANY({pids}) ORDER BY pid
"""
_BLOCKING = _FACTS.format(pids="pg_blocking_pids($1)")
_HOLDING = _FACTS.format(
    pids="""ARRAY(
        SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = ($1::bigint >> 32)::oid AND objid = ($1::bigint & 4294967295)::oid
    )"""
)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that holds a lock. `state` and `age` (of its transaction, seconds) may be hidden from this login."""

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


async def blocking(connection: asyncpg.Connection, pid: int) -> tuple[Blocker, ...]:
    """Who holds what the session `pid` waits for; empty when it waits for nothing."""
    return tuple(Blocker(*row) for row in await connection.fetch(_BLOCKING, pid))


async def holding(connection: asyncpg.Connection, key: int) -> tuple[Blocker, ...]:
    """Who holds the advisory lock `key` of this database."""
    return tuple(Blocker(*row) for row in await connection.fetch(_HOLDING, key))
