"""`slipway audit export`, on a database of its own login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from slipway.audit.filters import Filters
from slipway.audit.queries import batches
from slipway.audit.schemas import AuditEntry
from slipway.http.problems import UnavailableError
from slipway.output import is_taken
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings


async def export(settings: Settings, wanted: Filters) -> None:
    """Write rows to standard output as they are read, a JSON line each; ends early where nobody reads any more.

    Raises UnavailableError where the database goes away.
    """
    database = Database(settings, login_from_settings(settings))
    try:
        async for rows in _read(database, wanted):
            lines = "".join(f"{AuditEntry.model_validate(row).model_dump_json()}\n" for row in rows)
            if not is_taken(lines.encode()):
                return
    finally:
        await database.close()


async def _read(database: Database, wanted: Filters) -> AsyncIterator[Sequence[Any]]:
    """What ends here, a broken pipe too, is the database's: nobody may take it for a reader who has had enough."""
    try:
        async for rows in batches(database, wanted):
            yield rows
    except OSError as error:
        raise UnavailableError(f"The database can't be reached: {error.strerror or type(error).__name__}.") from None
