"""A real pgbouncer in front of a test's PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from servers.databases import OWNER, TestDatabase
from servers.postgres import PASSWORD
from servers.waiting import free_port, until


@asynccontextmanager
async def pgbouncer(database: TestDatabase, mode: str, *, ignored: Sequence[str] = ()) -> AsyncIterator[int]:
    """Port of one that lends sessions as `mode` says, to the owner; `ignored`: parameters of a login that it drops."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="slipway-pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{OWNER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\n" + (f"ignore_startup_parameters = {','.join(ignored)}\n" if ignored else "")
        )
        as_nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        if as_nobody is not None:
            folder.chmod(0o755)
        process = await asyncio.create_subprocess_exec(
            program, "-q", str(folder / "ini"), user=as_nobody, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: _listens(port), within=10)
            yield port
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
