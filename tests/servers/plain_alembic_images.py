"""Images with plain Alembic: alembic.ini, env.py and revisions, and the script that the operator mounts into them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from servers.databases import TestDatabase
from servers.migration_images import Step, image
from servers.postgres import PASSWORD
from slipway_operator.migrations.script import SCRIPT_FILE, script_files

PREFIX = "slipway.dev/v1 "
INI = """
[alembic]
script_location = {folder}
sqlalchemy.url = postgresql+asyncpg://nobody@nowhere/nothing

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stdout,)
formatter = plain
[formatter_plain]
format = %%(message)s
"""
ENVIRONMENT = """
import asyncio
from logging.config import fileConfig
from alembic import context
from sqlalchemy.ext.asyncio import async_engine_from_config

fileConfig(context.config.config_file_name)

def configured(**options):
    context.configure(transaction_per_migration={per_migration}, **options)
    with context.begin_transaction():
        context.run_migrations()

async def online():
    engine = async_engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.")
    async with engine.connect() as connection:
        await connection.run_sync(lambda connection: configured(connection=connection))

if context.is_offline_mode():
    configured(dialect_name="postgresql", literal_binds=True)
else:
    asyncio.run(online())
"""


def plain_image(folder: Path, *steps: Step, per_migration: bool = False) -> Path:
    """An image with these revisions, its pool and its logging on stdout; returns the path of alembic.ini."""
    image(folder / "versions", *steps)
    (folder / "env.py").write_text(ENVIRONMENT.format(per_migration=per_migration))
    config = folder / "alembic.ini"
    config.write_text(INI.format(folder=folder))
    return config


def mount(folder: Path, files: Mapping[str, str]) -> Path:
    """A ConfigMap as the kubelet mounts it: links to links into a folder of this version. Returns the script's path."""
    version = folder / "..2026_01_31_10_20_30.1234567890"
    version.mkdir()
    (folder / "..data").symlink_to(version.name)
    for name, text in files.items():
        (version / name).write_text(text)
        (folder / name).symlink_to(Path("..data", name))
    return folder / SCRIPT_FILE


@cache
def _mounted() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """The script, and what removes it when the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="slipway-script-")
    return mount(Path(folder.name), script_files()), folder


@dataclass(frozen=True)
class Run:
    """What a run of the script left: exit code, marked lines, and everything it wrote."""

    code: int
    lines: list[dict[str, Any]]
    output: str
    errors: str

    @property
    def last(self) -> dict[str, Any]:
        """The marked line that is the very last of stdout."""
        return parsed(self.output.splitlines()[-1])

    def said(self, reason: str) -> list[str]:
        return [line["message"] for line in self.lines if line.get("reason") == reason and line["type"] == "waiting"]

    @property
    def plan(self) -> dict[str, Any]:
        assert [line["part"] for line in self.lines] == list(range(1, self.lines[0]["parts"] + 1)), self.output
        document: dict[str, Any] = json.loads(
            zlib.decompress(b"".join(base64.b64decode(line["data"]) for line in self.lines))
        )
        return document


def parsed(line: str) -> dict[str, Any]:
    assert line.startswith(PREFIX), line
    assert len(line.encode()) < 8 * 1024
    document: dict[str, Any] = json.loads(line.removeprefix(PREFIX))
    return document


def lines_of(output: str) -> list[dict[str, Any]]:
    return [parsed(line) for line in output.splitlines() if line.startswith(PREFIX)]


def binding(folder: Path, database: TestDatabase, **changes: str) -> Path:
    """A mounted Secret with the owner's login."""
    folder.mkdir(parents=True, exist_ok=True)
    login = database.owner
    values = {"host": login.host, "port": str(login.port), "database": login.database, "username": login.username,
              "password": login.password.get_secret_value(), **changes}  # fmt: skip
    for name, value in values.items():
        (folder / name).write_text(value)
    return folder


async def start(
    config: Path, database: TestDatabase, *arguments: str, login: Path | None = None
) -> asyncio.subprocess.Process:
    folder = login or binding(config.parent / "login", database)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_mounted()[0]), f"--config={config}", *arguments,
        env={"PATH": os.environ["PATH"], "SLIPWAY_DATABASE_CREDENTIALS_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process, read: str = "") -> Run:
    """The rest of a run; what of its stdout was read before goes in as `read`."""
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    told, complaints = read + output.decode(), errors.decode()
    assert PASSWORD not in told + complaints
    assert "Traceback" not in complaints, complaints
    return Run(process.returncode or 0, lines_of(told), told, complaints)


async def script(config: Path, database: TestDatabase, *arguments: str, login: Path | None = None) -> Run:
    return await finish(await start(config, database, *arguments, "--marked", login=login))


async def until_said(process: asyncio.subprocess.Process, words: str) -> str:
    """Read stdout until a line has `words`; returns what was read."""
    assert process.stdout is not None
    read = ""
    while words not in read:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, f"{words!r} was never said:\n{read}"
        read += line.decode()
    return read


def ids(revisions: Sequence[dict[str, Any]]) -> list[str]:
    return [revision["id"] for revision in revisions]
