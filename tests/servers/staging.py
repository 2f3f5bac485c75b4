"""Setting the stage in a service's database, as its own role and by SQLAlchemy: not the way that the service writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from slipway.storage.engine import Database


@asynccontextmanager
async def staged(database: Database) -> AsyncIterator[AsyncSession]:
    """A transaction on the service's own pool, committed when the block ends; it leaves no row in the audit log."""
    connections = database.connections
    with connections.wanted():
        async with AsyncSession(connections.engine, expire_on_commit=False) as session, session.begin():
            yield session
