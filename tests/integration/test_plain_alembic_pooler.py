"""A connection pooler (a real pgbouncer) between the script for plain Alembic and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servers.databases import OWNER, TestDatabase
from servers.migration_images import table, tables_of
from servers.plain_alembic_images import binding, plain_image, script
from servers.postgres import PASSWORD
from servers.waiting import free_port, until


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.fixture
async def pooler(empty_database: TestDatabase) -> AsyncIterator[int]:
    """Port of a pgbouncer that lends sessions for a transaction."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="slipway-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text(f'"{OWNER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={empty_database.server.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = plain\n"
            f"auth_file = {folder / 'users'}\npool_mode = transaction\n"
        )
        process = await asyncio.create_subprocess_exec(
            shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", "-q", str(folder / "ini"),
            user=pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None,  # it refuses to run as root
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until(lambda: _listens(port), within=10)
            yield port
        finally:
            process.kill()
            await process.wait()


async def test_a_pooler_is_refused_before_anything_is_changed(
    empty_database: TestDatabase, pooler: int, tmp_path: Path
) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    through = binding(tmp_path / "login", empty_database, port=str(pooler))
    for command in ("plan", "upgrade", "announce", "withdraw"):
        run = await script(config, empty_database, command, login=through)
        assert (run.code, run.last["reason"], run.last["lasting"]) == (1, "PoolerInBetween", True), run.output
    assert await tables_of(empty_database) == set()


async def test_the_gate_looks_through_a_pooler(empty_database: TestDatabase, pooler: int, tmp_path: Path) -> None:
    """It reads once and needs no lock; and the control: the same pooler serves otherwise."""
    config = plain_image(tmp_path / "image", table("a"))
    await script(config, empty_database, "upgrade")
    through = binding(tmp_path / "login", empty_database, port=str(pooler))
    assert (await script(config, empty_database, "wait", "--timeout=5", login=through)).code == 0
