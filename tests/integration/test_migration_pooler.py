"""A connection pooler (a real pgbouncer) between the schema commands and PostgreSQL: refused, with the way out."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from servers.databases import OWNER, TestDatabase
from servers.migration_images import image, owner_settings, session, table, tables_of
from servers.pgbouncer import pgbouncer
from servers.postgres import PASSWORD
from slipway.migrations import session as sessions
from slipway.migrations.announcements import announce, withdraw
from slipway.migrations.errors import MigrationError
from slipway.migrations.inspection import plan
from slipway.migrations.runner import upgrade

IGNORED = ("lock_timeout", "statement_timeout", "client_connection_check_interval")


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    return image(tmp_path, table("a"))


@asynccontextmanager
async def pooler(database: TestDatabase, mode: str, *ignored: str) -> AsyncIterator[str]:
    """The owner's URL through a pgbouncer that takes over sessions as `mode` says."""
    async with pgbouncer(database, mode, ignored=["extra_float_digits", *ignored]) as port:
        yield f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1:{port}/{database.name}"


@pytest.mark.parametrize("ignored", [(), IGNORED], ids=["refuses parameters", "ignores parameters"])
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_every_command_refuses_a_pooler_and_changes_nothing(
    empty_database: TestDatabase, versions: Path, mode: str, ignored: tuple[str, ...]
) -> None:
    async with pooler(empty_database, mode, *ignored) as url:
        settings = owner_settings(empty_database, database_url=url)
        for command in (upgrade, announce, withdraw, plan):
            with pytest.raises(MigrationError, match="name host and port of PostgreSQL itself") as failure:
                await command(settings, versions=versions, patience=20)
            assert (failure.value.reason, failure.value.lasting) == ("PoolerInBetween", True)
            assert PASSWORD not in str(failure.value)
    assert await tables_of(empty_database) == set()


async def test_the_operator_reads_it_in_the_last_line(empty_database: TestDatabase, tmp_path: Path) -> None:
    async with pooler(empty_database, "transaction", *IGNORED) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from slipway.migrations.cli import db; db()", "upgrade", "--marked",
            cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "SLIPWAY_DATABASE_URL": url},
        )  # fmt: skip
        printed, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    line = json.loads(printed.decode().splitlines()[-1].removeprefix("slipway.dev/v1 "))
    assert (line["reason"], line["lasting"]) == ("PoolerInBetween", True)


async def test_without_the_look_at_the_session_limits_would_silently_be_lost(
    empty_database: TestDatabase, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the upgrade goes through, but the server never heard of its time limits."""
    limits: list[str] = []

    async def look_at_limits(connection: asyncpg.Connection, **_: object) -> None:
        limits.append(await connection.fetchval("SHOW lock_timeout"))

    monkeypatch.setattr(sessions, "refuse_pooler", look_at_limits)
    async with pooler(empty_database, "session", *IGNORED) as url:
        await upgrade(owner_settings(empty_database, database_url=url), versions=versions)
    assert limits == ["0"]


async def test_without_a_pooler_the_session_that_answers_is_our_own(empty_database: TestDatabase) -> None:
    async with session(empty_database.url_owner) as connection:
        await sessions.refuse_pooler(connection, timeout=5)
