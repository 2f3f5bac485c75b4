"""`DbSession`: one transaction a request, committed before its reply starts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

if TYPE_CHECKING:
    from slipway.storage.engine import Database


async def open_transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Commit when the route returns, roll back when it raises. A failing COMMIT raises before any byte is sent."""
    database: Database = request.app.state.resources.database
    async with database.transaction() as session:
        yield session


# With FastAPI's default scope the commit would come after the reply: a 201 for a row that a COMMIT then refuses.
DbSession = Annotated[AsyncSession, Depends(open_transaction, scope="function")]
