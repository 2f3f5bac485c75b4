"""A statement as the service's own role, for looking behind the API and for setting the stage."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from servers.staging import staged
from slipway.resources import Resources


async def run_sql(resources: Resources, statement: str, **values: object) -> list[Any]:
    """The rows, if any; committed when this returns."""
    async with staged(resources.database) as session:
        result = await session.execute(text(statement), values)
        return list(result.all()) if result.returns_rows else []
