"""Images for tests of migrations: folders of revisions, and what one needs to look at the outcome."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from servers.databases import TestDatabase
from slipway.settings import Settings


@dataclass(frozen=True)
class Step:
    """A revision: its id, what it runs (SQL statements, or the Python body of `upgrade`), and its kind."""

    id: str
    sql: Sequence[str] = ()
    body: str = ""
    kind: str = "expand"

    def module(self, previous: str | None) -> str:
        body = self.body or "\n".join(f"op.execute({statement!r})" for statement in self.sql) or "pass"
        return (
            f'"""Step {self.id}."""\n'
            "from alembic import op\n"
            "from slipway.migrations.operations import create_index_concurrently, drop_index_concurrently\n"
            f"revision = {self.id!r}\ndown_revision = {previous!r}\nkind = {self.kind!r}\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        )


def table(name: str) -> Step:
    """An expand that makes a table of its own name."""
    return Step(name, [f"CREATE TABLE {name} (id bigint)"])


def contract(name: str, drops: str) -> Step:
    return Step(name, [f"DROP TABLE {drops}"], kind="contract")


def image(folder: Path, *steps: Step) -> Path:
    """Write the revisions of an image into `folder`, each following the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps):
        previous = steps[number - 1].id if number else None
        (folder / f"{number:04}_{step.id}.py").write_text(step.module(previous))
    return folder


def owner_settings(database: TestDatabase, **changes: Any) -> Settings:
    """Settings of the migration: the owner's login, small limits."""
    return Settings(**{"database_url": database.url_owner, "migration_budget": 30, **changes})


@asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        connection.terminate()


async def value(url: str, query: str, *arguments: object) -> Any:
    async with session(url) as connection:
        return await connection.fetchval(query, *arguments)


async def ledger_of(database: TestDatabase) -> list[tuple[str, str, bool, bool]]:
    """(revision, kind, announced, applied) in order of sequence."""
    async with session(database.url_owner) as connection:
        rows = await connection.fetch(
            "SELECT revision, kind, announced_at IS NOT NULL, applied_at IS NOT NULL FROM slipway_ledger"
            " ORDER BY sequence"
        )
    return [tuple(row) for row in rows]


async def tables_of(database: TestDatabase) -> set[str]:
    async with session(database.url_owner) as connection:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row[0] for row in rows} - {"alembic_version", "slipway_ledger"}


async def version_of(database: TestDatabase) -> list[str]:
    async with session(database.url_owner) as connection:
        return [row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")]
