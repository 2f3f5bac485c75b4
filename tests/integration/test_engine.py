"""The connection pool against a real PostgreSQL."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as SqlTimeoutError

from servers.databases import TestDatabase, superuser_sql
from servers.waiting import until
from slipway.settings import Settings
from slipway.storage.engine import Database


async def test_a_transaction_reaches_the_database(empty_database: TestDatabase) -> None:
    database = Database(Settings(), empty_database.owner)
    async with database.transaction() as session:
        assert (await session.execute(text("SELECT current_user"))).scalar_one() == "slipway_owner"
    await database.close()


async def _open_connections(database: TestDatabase) -> int:
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'slipway'", database.name
        )
        return count
    finally:
        await connection.close()


async def _use_at_once(database: Database, number: int) -> None:
    together = asyncio.Barrier(number)

    async def use() -> None:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            await together.wait()

    await asyncio.gather(*(use() for _ in range(number)))


async def test_overflow_connections_are_kept_for_the_next_burst_and_closed_once_idle(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.storage.engine.IDLE_OVERFLOW", 0.2)
    settings = Settings(database_pool_size=2, database_max_overflow=4)
    database = Database(settings, empty_database.owner)
    try:
        await _use_at_once(database, 6)
        assert await _open_connections(empty_database) == 6
        assert database.idle_connections == 6

        async def trimmed() -> bool:
            return await _open_connections(empty_database) == 2

        await until(trimmed)
        assert database.idle_connections == 2
        await _use_at_once(database, 6)
    finally:
        await database.close()


async def test_more_than_pool_and_overflow_are_never_open(empty_database: TestDatabase) -> None:
    settings = Settings(database_pool_size=1, database_max_overflow=1, database_pool_timeout=0.2)
    database = Database(settings, empty_database.owner)
    try:
        with pytest.raises(SqlTimeoutError):
            await _use_at_once(database, 3)
    finally:
        await database.close()


async def test_a_row_is_fetched_and_a_lost_connection_is_replaced_once(empty_database: TestDatabase) -> None:
    database = Database(Settings(), empty_database.owner)
    try:
        row = await database.fetch_row("SELECT pg_backend_pid() AS pid, $1::text AS word", "hull")
        assert row is not None
        assert row["word"] == "hull"
        await superuser_sql(empty_database.server, f"SELECT pg_terminate_backend({row['pid']})")
        again = await database.fetch_row("SELECT pg_backend_pid() AS pid")
        assert again is not None
        assert again["pid"] != row["pid"]
        assert database.idle_connections == 1
    finally:
        await database.close()


async def test_a_cancelled_fetch_gives_its_connection_to_nobody_else(empty_database: TestDatabase) -> None:
    database = Database(Settings(database_pool_size=1, database_max_overflow=0), empty_database.owner)
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.fetch_row("SELECT pg_sleep(30)"), 0.2)
        assert await database.fetch_row("SELECT 1 AS one") is not None
    finally:
        await database.close()
