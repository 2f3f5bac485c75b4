"""The ledger: which revisions a database has, as every image can read it, also one that doesn't know them.

A contract gets its row when it is announced, in a transaction of its own before it runs; anything else gets it in the
transaction of the revision. So what the ledger says was applied was, and what is applied it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import Connection, text

from slipway.migrations.script import Chain, Kind, Revision

VERSION_TABLE = "alembic_version"
LEDGER_TABLE = "slipway_ledger"

CREATE = (
    f"""
    CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (
        version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
    )
    """,
    f"""
    CREATE TABLE IF NOT EXISTS {LEDGER_TABLE} (
        revision text PRIMARY KEY,
        sequence bigint GENERATED ALWAYS AS IDENTITY,
        kind text NOT NULL CHECK (kind IN ('expand', 'contract')),
        announced_at timestamptz,
        applied_at timestamptz
    )
    """,
)

READABLE = f"SELECT coalesce(has_table_privilege(to_regclass('{LEDGER_TABLE}'), 'SELECT'), false)"
"""Whether there is a ledger that this login may read; the service's login may come before its rights do."""

READ_ROWS = f"""
    SELECT revision, kind, announced_at IS NOT NULL, applied_at IS NOT NULL FROM {LEDGER_TABLE} ORDER BY sequence
"""  # noqa: S608 - the table's name is a constant

_ANNOUNCE = f"""
    INSERT INTO {LEDGER_TABLE} (revision, kind, announced_at) VALUES ($1, $2, now())
    ON CONFLICT (revision) DO UPDATE SET announced_at = coalesce({LEDGER_TABLE}.announced_at, now())
"""  # noqa: S608 - the table's name is a constant
_RECORD = f"""
    INSERT INTO {LEDGER_TABLE} (revision, kind, applied_at) VALUES (:revision, :kind, now())
    ON CONFLICT (revision) DO UPDATE SET kind = excluded.kind, applied_at = now()
"""  # noqa: S608 - the table's name is a constant
_ADOPT = f"""
    INSERT INTO {LEDGER_TABLE} (revision, kind, applied_at) VALUES ($1, $2, now())
    ON CONFLICT (revision) DO UPDATE SET kind = excluded.kind, applied_at = now()
"""  # noqa: S608 - the table's name is a constant


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What the ledger says of one revision."""

    revision: str
    kind: Kind
    announced: bool
    applied: bool


@dataclass(frozen=True, slots=True)
class Correction:
    """What makes the ledger agree with Alembic's own table; both empty when it does."""

    missing: tuple[Revision, ...]
    false: tuple[str, ...]


def compare(chain: Chain, reached: frozenset[str], rows: Iterable[LedgerRow]) -> Correction:
    """Compare the ledger with the revisions that Alembic's table says were applied, among those of this image.

    They differ where a database was upgraded or stamped by plain Alembic before or between our own runs.
    """
    applied = {row.revision for row in rows if row.applied}
    return Correction(
        missing=tuple(revision for revision in chain.revisions if revision.id in reached - applied),
        false=tuple(revision.id for revision in chain.revisions if revision.id in applied - reached),
    )


async def create(connection: asyncpg.Connection) -> None:
    for statement in CREATE:
        await connection.execute(statement)


async def read_heads(connection: asyncpg.Connection) -> tuple[str, ...]:
    """What Alembic's table says; empty without that table."""
    if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
        return ()
    return tuple(row[0] for row in await connection.fetch(f"SELECT version_num FROM {VERSION_TABLE} ORDER BY 1"))  # noqa: S608


async def read_rows(connection: asyncpg.Connection) -> tuple[LedgerRow, ...] | None:
    """The ledger in the order in which its rows came; None when there is none that this login may read."""
    if not await connection.fetchval(READABLE):
        return None
    return tuple(LedgerRow(*row) for row in await connection.fetch(READ_ROWS))


async def withdraw(connection: asyncpg.Connection, revisions: Sequence[str]) -> None:
    """Take back announcements of contracts that weren't applied, so that pods that they would break start again."""
    await connection.execute(
        f"DELETE FROM {LEDGER_TABLE} WHERE revision = ANY($1::text[]) AND applied_at IS NULL",  # noqa: S608
        list(revisions),
    )


async def announce(connection: asyncpg.Connection, revision: Revision) -> None:
    """Say that a contract is coming; committed before it runs, so that no pod that it breaks starts meanwhile."""
    await connection.execute(_ANNOUNCE, revision.id, revision.kind)


def record(connection: Connection, revision: Revision) -> None:
    """Write that a revision was applied, in the transaction that it runs in."""
    connection.execute(text(_RECORD), {"revision": revision.id, "kind": revision.kind})


async def correct(connection: asyncpg.Connection, correction: Correction) -> None:
    await connection.executemany(_ADOPT, [(revision.id, revision.kind) for revision in correction.missing])
    await connection.execute(
        f"DELETE FROM {LEDGER_TABLE} WHERE revision = ANY($1::text[])",  # noqa: S608
        list(correction.false),
    )


async def replace(connection: asyncpg.Connection, revisions: Sequence[Revision]) -> None:
    """Make Alembic's table and the ledger say that exactly these were applied; for stamping."""
    await connection.execute(f"DELETE FROM {VERSION_TABLE}")  # noqa: S608
    await connection.execute(f"DELETE FROM {LEDGER_TABLE}")  # noqa: S608
    if revisions:
        await connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES ($1)", revisions[-1].id)  # noqa: S608
    await correct(connection, Correction(tuple(revisions), ()))
