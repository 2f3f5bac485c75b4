"""Connections that lie ready beside the pool are as good as the pool's: nobody waits for one, or gets a bad one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from time import monotonic

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from servers.databases import TestDatabase, superuser_sql
from servers.waiting import until
from slipway.settings import Settings
from slipway.storage.engine import Database

PID = "SELECT pg_backend_pid() AS pid"
OPEN = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'slipway'"


@pytest.fixture
async def narrow(empty_database: TestDatabase) -> AsyncIterator[Database]:
    """One connection: who keeps it stops everybody."""
    opened = Database(
        Settings(database_pool_size=1, database_max_overflow=0, database_pool_timeout=1.0), empty_database.owner
    )
    yield opened
    await opened.close()


async def _pid(session: AsyncSession) -> int:
    return int((await session.execute(text(PID))).scalar_one())


async def _fetched(database: Database) -> int:
    row = await database.fetch_row(PID)
    assert row is not None
    return int(row.pid)


async def test_a_session_gets_the_connection_that_lies_ready(narrow: Database) -> None:
    lying = await _fetched(narrow)
    assert (narrow.connections.idle, narrow.connections.in_use) == (1, 0)
    assert await narrow.read(_pid) == lying
    assert (narrow.connections.idle, narrow.connections.in_use) == (1, 0)
    assert await _fetched(narrow) == lying


async def test_if_it_were_kept_from_sessions_they_would_wait_in_vain(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    await _fetched(narrow)
    monkeypatch.setattr(narrow.connections, "wanted", nullcontext)
    with pytest.raises(SqlTimeoutError):
        await narrow.read(_pid)


async def test_as_many_sessions_as_there_are_connections_get_them_at_once(empty_database: TestDatabase) -> None:
    """All of them lie ready when the sessions come."""
    settings = Settings(database_pool_size=5, database_max_overflow=0, database_pool_timeout=1.0)
    database = Database(settings, empty_database.owner)
    together = asyncio.Barrier(5)

    async def meet(session: AsyncSession) -> int:
        pid = await _pid(session)
        await together.wait()
        return pid

    try:
        taken = [await database.connections.take() for _ in range(5)]
        for pooled in taken:
            database.connections.give_back(pooled)
        assert len(set(await asyncio.gather(*(database.read(meet) for _ in range(5))))) == 5
    finally:
        await database.close()


async def test_who_waits_gets_what_comes_back(narrow: Database) -> None:
    held = await narrow.connections.take()
    waiting = [asyncio.create_task(narrow.read(_pid)), asyncio.create_task(_fetched(narrow))]
    while narrow.connections._wanting < 2:  # noqa: SLF001 - both have to be waiting
        await asyncio.sleep(0)
    narrow.connections.give_back(held)
    assert len(set(await asyncio.gather(*waiting))) == 1


async def test_one_that_was_closed_while_it_lay_ready_is_handed_to_nobody(
    empty_database: TestDatabase, narrow: Database
) -> None:
    first = await _fetched(narrow)
    await superuser_sql(empty_database.server, f"SELECT pg_terminate_backend({first})")
    [lying] = narrow.connections._ready  # noqa: SLF001 - what is tested
    await until(lying.driver_connection.is_closed)
    taken = await narrow.connections.take()
    assert not taken.driver_connection.is_closed()
    narrow.connections.give_back(taken)
    assert await _fetched(narrow) != first


async def test_one_that_is_too_old_is_replaced(empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(Settings(database_pool_recycle=100), empty_database.owner)
    try:
        first = await _fetched(database)
        assert await _fetched(database) == first
        now = monotonic() + 101
        monkeypatch.setattr("slipway.storage.connections.monotonic", lambda: now)
        second = await _fetched(database)
        assert second != first
        now += 101
        assert await database.read(_pid) not in {first, second}
    finally:
        await database.close()


async def test_whatever_is_asked_at_once_no_connection_is_lost_and_none_too_many_is_made(
    empty_database: TestDatabase,
) -> None:
    settings = Settings(database_pool_size=2, database_max_overflow=1, database_pool_timeout=30)
    database = Database(settings, empty_database.owner)
    draws = random.Random(7)  # noqa: S311 - which way is taken, the same each time
    seen: set[int] = set()

    async def asks(who: int) -> None:
        for turn in range(20):
            way = draws.choice((_fetched, lambda database: database.read(_pid)))
            task = asyncio.create_task(way(database))
            if draws.random() < 0.2:
                for _ in range(draws.randrange(6)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                seen.add(await task)
            except asyncio.CancelledError:
                continue
            if (who, turn) == (0, 10):
                await database.change_login(replace(empty_database.owner))

    try:
        await asyncio.gather(*(asks(who) for who in range(12)))
        assert database.connections.in_use == 0
        assert database.connections.idle <= 3
        assert len(seen) > 3
        rows = await database.fetch_row(f"SELECT count(*) AS open FROM ({OPEN}) AS opened")  # noqa: S608 - a constant
        assert rows is not None
        assert rows.open <= 3
    finally:
        await database.close()
    assert database.connections.idle == 0
