"""`slipway audit export`, on a database of its own login."""

from __future__ import annotations

import os
import sys

from slipway.audit.filters import Filters
from slipway.audit.queries import batches
from slipway.audit.schemas import AuditEntry
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings


async def export(settings: Settings, wanted: Filters) -> None:
    """Write rows to standard output as they are read, a JSON line each; ends early where nobody reads any more."""
    database = Database(settings, login_from_settings(settings))
    try:
        async for rows in batches(database, wanted):
            lines = "".join(f"{AuditEntry.model_validate(row).model_dump_json()}\n" for row in rows)
            sys.stdout.buffer.write(lines.encode())
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        await database.close()
