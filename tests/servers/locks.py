"""Requests that wait for as long as a test wants: behind a row that another session keeps locked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from servers.databases import TestDatabase
from servers.slipway import SlipwayProcess


@asynccontextmanager
async def locked_item(slipway: SlipwayProcess, database: TestDatabase, headers: dict[str, str]) -> AsyncIterator[str]:
    """The path of an item whose row another session keeps locked."""
    path = httpx.post(f"{slipway.base}/api/v1/items", json={"title": "locked"}, headers=headers).headers["Location"]
    connection = await asyncpg.connect(database.url_owner, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM items FOR UPDATE")
            yield path
    finally:
        await connection.close()


async def some_wait(database: TestDatabase, number: int = 1) -> bool:
    """Whether just so many sessions of the database wait for a lock."""
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'", database.name
        )
        return count == number
    finally:
        await connection.close()
