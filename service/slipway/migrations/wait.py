"""`slipway db wait`: holds a pod back until the gate opens, and says what for."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from time import monotonic

from slipway.migrations import ledger
from slipway.migrations.errors import DATABASE_ERRORS, MigrationError, describe
from slipway.migrations.gate import GateVerdict, decide_gate
from slipway.migrations.progress import Report
from slipway.migrations.script import VERSIONS, Chain, read_chain
from slipway.migrations.session import connect
from slipway.settings import Settings
from slipway.storage.login import LoginError

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
TELL_AGAIN = 30.0
"""The same reason is said again after this many seconds."""


async def wait_for_schema(
    settings: Settings, *, versions: Path = VERSIONS, limit: float | None = None, report: Report
) -> GateVerdict:
    """Look until the gate is open, and return that verdict.

    Without `limit` (seconds) it waits without limit: an unreachable database, too, is only waited for. Raises
    MigrationError when the gate refuses or the time is up, LoginError when the settings make no login.
    """
    chain = read_chain(versions)
    end = None if limit is None else monotonic() + limit
    said, told_at, pause = "", monotonic(), FIRST_PAUSE
    while True:
        verdict = await look(settings, chain)
        if verdict.is_open:
            return verdict
        if verdict.state == "refused":
            raise MigrationError(f"{verdict.sentence} ({verdict.reason})")
        now = monotonic()
        if end is not None and now >= end:
            raise MigrationError(f"Not ready after {limit:g} s: {verdict.sentence} ({verdict.reason})")
        if verdict.sentence != said or now - told_at >= TELL_AGAIN:
            report(f"Waiting: {verdict.sentence} ({verdict.reason})")
            said, told_at = verdict.sentence, now
        delay = random.uniform(pause / 2, pause)  # noqa: S311 - jitter
        await asyncio.sleep(delay if end is None else min(delay, max(0.0, end - now)))
        pause = min(LONGEST_PAUSE, pause * 1.5)


async def look(settings: Settings, chain: Chain) -> GateVerdict:
    """One look at the ledger by a connection of its own, with the login as it is now.

    Every fault of the database, and credential files that are only half there, are reasons to wait.
    """
    try:
        connection = await connect(
            settings, application_name="slipway db wait", command_timeout=settings.database_connect_timeout
        )
        try:
            return decide_gate(chain, await ledger.read_rows(connection))
        finally:
            connection.terminate()
    except DATABASE_ERRORS as error:
        return GateVerdict("waiting", "DatabaseUnreachable", f"The database can't be reached: {describe(error)}.")
    except LoginError as error:
        if settings.database_credentials_dir is None:
            raise
        return GateVerdict("waiting", "CredentialsIncomplete", str(error))
