"""A connection pooler (a real pgbouncer) between the schema commands and PostgreSQL: refused, with the way out."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from servers.databases import OWNER, TestDatabase
from servers.migration_images import image, owner_settings, session, table, tables_of
from servers.postgres import PASSWORD
from servers.waiting import free_port, until
from slipway.migrations import session as sessions
from slipway.migrations.announcements import announce, withdraw
from slipway.migrations.errors import MigrationError
from slipway.migrations.inspection import plan
from slipway.migrations.runner import upgrade

IGNORED = "lock_timeout,statement_timeout,client_connection_check_interval"


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    return image(tmp_path, table("a"))


@asynccontextmanager
async def pooler(database: TestDatabase, mode: str, ignored: str) -> AsyncIterator[str]:
    """The owner's URL through a pgbouncer that takes over sessions as `mode` says."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="slipway-pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{OWNER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\nignore_startup_parameters = extra_float_digits,{ignored}\n"
        )
        as_nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        if as_nobody is not None:
            folder.chmod(0o755)
        process = await asyncio.create_subprocess_exec(
            program, "-q", str(folder / "ini"), user=as_nobody, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: _listens(port), within=10)
            yield f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1:{port}/{database.name}"
        finally:
            process.kill()
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("ignored", ["", IGNORED], ids=["refuses parameters", "ignores parameters"])
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_every_command_refuses_a_pooler_and_changes_nothing(
    empty_database: TestDatabase, versions: Path, mode: str, ignored: str
) -> None:
    async with pooler(empty_database, mode, ignored) as url:
        settings = owner_settings(empty_database, database_url=url)
        for command in (upgrade, announce, withdraw, plan):
            with pytest.raises(MigrationError, match="name host and port of PostgreSQL itself") as failure:
                await command(settings, versions=versions, patience=20)
            assert (failure.value.reason, failure.value.lasting) == ("PoolerInBetween", True)
            assert PASSWORD not in str(failure.value)
    assert await tables_of(empty_database) == set()


async def test_the_operator_reads_it_in_the_last_line(empty_database: TestDatabase) -> None:
    async with pooler(empty_database, "transaction", IGNORED) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from slipway.migrations.cli import db; db()", "upgrade", "--marked",
            stdout=subprocess.PIPE, env={**os.environ, "SLIPWAY_DATABASE_URL": url},
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
    async with pooler(empty_database, "session", IGNORED) as url:
        await upgrade(owner_settings(empty_database, database_url=url), versions=versions)
    assert limits == ["0"]


async def test_without_a_pooler_the_session_that_answers_is_our_own(empty_database: TestDatabase) -> None:
    async with session(empty_database.url_owner) as connection:
        await sessions.refuse_pooler(connection, timeout=5)
