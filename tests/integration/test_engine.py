"""The connection pool against a real PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text

from servers.databases import TestDatabase
from slipway.settings import Settings
from slipway.storage.engine import Database


async def test_a_transaction_reaches_the_database(empty_database: TestDatabase) -> None:
    database = Database(Settings(), empty_database.owner)
    async with database.transaction() as session:
        assert (await session.execute(text("SELECT current_user"))).scalar_one() == "slipway_owner"
    await database.close()
