"""The runner's connection: one for lock, DDL and ledger, so that losing it loses all three together."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from slipway.migrations.blockers import describe_blockers, holding
from slipway.migrations.errors import MigrationError, describe
from slipway.migrations.progress import Progress, Rhythm, Waiting, Working
from slipway.settings import Settings
from slipway.storage.engine import connect_arguments
from slipway.storage.login import login_from_settings

LOCK_KEY = 0x736C6970776179
"""The advisory lock that every runner on a database takes: "slipway" in ASCII."""

NOT_NOW = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
)
"""What may pass by itself while one connects."""

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
        **connect_arguments(settings, login_from_settings(settings), **server_settings),
        command_timeout=command_timeout,
    )


async def connect_within(
    settings: Settings,
    patience: float,
    progress: Progress,
    *,
    command_timeout: float | None = None,
    **server_settings: str,
) -> asyncpg.Connection:
    """As `connect`, but a server that isn't up yet is looked for again until `patience` (seconds) is over.

    A login that the server refuses, and a certificate that isn't its, are told at once: waiting doesn't mend them.
    Raises MigrationError when the other end is a pooler.
    """
    end = monotonic() + patience
    told = False
    rhythm = Rhythm()
    while True:
        try:
            connection = await connect(settings, command_timeout=command_timeout, **server_settings)
            break
        except ssl.SSLCertVerificationError:
            raise
        except asyncpg.ProtocolViolationError as error:
            # PostgreSQL knows the parameters that we send; who refuses one at login isn't PostgreSQL.
            raise _pooler(describe(error)) from error
        except NOT_NOW as error:
            if monotonic() >= end:
                raise
            message = f"The database can't be reached: {describe(error)}."
            if not told:
                progress.report(f"{message} Looking again for {patience:g} s.")
                told = True
            if rhythm.is_due():
                left = max(0.0, end - monotonic())
                progress.listen(Waiting("DatabaseUnreachable", f"{message} Looking again for {left:.0f} s."))
        await asyncio.sleep(random.uniform(*CONNECT_PAUSE))  # noqa: S311 - jitter
    try:
        await refuse_pooler(connection, timeout=settings.database_connect_timeout)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def refuse_pooler(connection: asyncpg.Connection, *, timeout: float) -> None:  # noqa: ASYNC109 - of the query
    """Raise MigrationError when the session that answers isn't the one that we logged in to.

    A pooler may give the next statement to another session: then the lock, and the limits on statements, are another's.
    """
    try:
        answering = await connection.fetchval("SELECT pg_backend_pid()", timeout=timeout)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        raise _pooler(describe(error)) from error
    if answering != connection.get_server_pid():
        raise _pooler("the session that answers isn't the one that the login was given")


def _pooler(sign: str) -> MigrationError:
    return MigrationError(
        f"There is a connection pooler between here and PostgreSQL ({sign}). Locks and limits of a schema change need "
        "a session of their own: let the owner's login (its Secret) name host and port of PostgreSQL itself.",
        reason="PoolerInBetween",
    )


@asynccontextmanager
async def alone(settings: Settings, progress: Progress, patience: float = 0.0) -> AsyncIterator[Session]:
    """The only runner's session; raises MigrationError when the budget ends before the block does."""
    try:
        async with (
            asyncio.timeout(settings.migration_budget) as budget,
            open_session(settings, patience, progress) as session,
        ):
            await take_lock(session.raw, progress)
            yield session
    except TimeoutError:
        if not budget.expired():
            raise
        raise MigrationError(
            f"The budget of {settings.migration_budget:g} s is used up. What was done stays; run it again.",
            reason="BudgetExceeded",
        ) from None


@asynccontextmanager
async def open_session(settings: Settings, patience: float, progress: Progress) -> AsyncIterator[Session]:
    """The runner's session, with its limits set on the server; waits for the server as `connect_within` does."""
    raw = await connect_within(
        settings,
        patience,
        progress,
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


async def take_lock(raw: asyncpg.Connection, progress: Progress) -> None:
    """Wait until this session is the only runner on the database; without limit, the caller has the budget.

    Polled in autocommit: a session that waits in `pg_advisory_lock` holds a snapshot, on which CREATE INDEX
    CONCURRENTLY of the one that works would wait in turn. The lock ends with the session.
    """
    told = False
    rhythm = Rhythm()
    while not await raw.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if not told:
            progress.report("Another runner is at work on this database; waiting for it.")
            told = True
        if rhythm.is_due():
            holders = describe_blockers(await holding(raw, LOCK_KEY))
            progress.listen(Waiting("WaitingForRunner", f"Another runner is at work on this database: {holders}."))
        await asyncio.sleep(random.uniform(*LOCK_POLL))  # noqa: S311 - jitter
    if told:
        progress.listen(Working("The other runner is done."))
