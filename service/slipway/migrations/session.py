"""The runner's connection: one for lock, DDL and ledger, so that losing it loses all three together."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from slipway.migrations.errors import describe
from slipway.settings import Settings
from slipway.storage.engine import connect_arguments
from slipway.storage.login import login_from_settings

Report = Callable[[str], None]
"""Takes one line of progress."""

LOCK_KEY = 0x736C6970776179
"""The advisory lock that every runner on a database takes: "slipway" in ASCII."""

CONNECT_PAUSE = (0.25, 0.75)
"""Bounds of the pause between two looks for a server that isn't up, seconds."""

LOCK_POLL = (0.1, 0.5)
"""Bounds of the pause between two looks at the lock, seconds."""


@dataclass(frozen=True, slots=True)
class Session:
    """One PostgreSQL session, seen by asyncpg (autocommit) and by SQLAlchemy (Alembic's view of it)."""

    raw: asyncpg.Connection
    sqlalchemy: AsyncConnection


async def connect(
    settings: Settings, *, command_timeout: float | None = None, **server_settings: str
) -> asyncpg.Connection:
    """Log in. Raises what `DATABASE_ERRORS` lists when that fails within the connect timeout."""
    return await asyncpg.connect(
        **connect_arguments(settings, login_from_settings(settings)),
        command_timeout=command_timeout,
        server_settings=server_settings,
    )


async def connect_within(
    settings: Settings, patience: float, report: Report, **server_settings: str
) -> asyncpg.Connection:
    """As `connect`, but a server that isn't up yet is looked for again until `patience` (seconds) is over.

    A login that the server refuses, and a certificate that isn't its, are told at once: waiting doesn't mend them.
    """
    end = monotonic() + patience
    told = False
    while True:
        try:
            return await connect(settings, command_timeout=None, **server_settings)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as error:
            if monotonic() >= end:
                raise
            if not told:
                report(f"The database can't be reached: {describe(error)}. Looking again for {patience:g} s.")
                told = True
        await asyncio.sleep(random.uniform(*CONNECT_PAUSE))  # noqa: S311 - jitter


@asynccontextmanager
async def open_session(settings: Settings, patience: float, report: Report) -> AsyncIterator[Session]:
    """The runner's session, with its limits set on the server; waits for the server as `connect_within` does."""
    raw = await connect_within(
        settings,
        patience,
        report,
        application_name="slipway db upgrade",
        lock_timeout=_milliseconds(settings.migration_lock_timeout),
        statement_timeout=_milliseconds(settings.migration_statement_timeout),
        # A runner that was killed must not go on building, holding the lock, until its statement ends by itself.
        client_connection_check_interval="1000",
    )

    async def handed_over() -> Any:
        return raw

    engine = create_async_engine("postgresql+asyncpg://", async_creator=handed_over, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield Session(raw, connection)
    finally:
        await raw.close(timeout=settings.database_connect_timeout)


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


async def take_lock(raw: asyncpg.Connection, report: Report) -> None:
    """Wait until this session is the only runner on the database; without limit, the caller has the budget.

    Polled in autocommit: a session that waits in `pg_advisory_lock` holds a snapshot, on which CREATE INDEX
    CONCURRENTLY of the one that works would wait in turn. The lock ends with the session.
    """
    told = False
    while not await raw.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if not told:
            report("Another runner is at work on this database; waiting for it.")
            told = True
        await asyncio.sleep(random.uniform(*LOCK_POLL))  # noqa: S311 - jitter
