"""Commands whose output nobody takes: a closed standard output, and a reader who is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from servers.databases import TestDatabase
from servers.migration_images import value
from slipway.migrations.script import VERSIONS, read_chain

SLIPWAY = Path(sys.executable).parent / "slipway"
WORK = ["audit export", "db plan", "logs"]
"""What works on, or streams until nobody reads."""
SHOW = ["jobs list", "settings"]
"""What only shows: like other tools it ends with 1 when it can't."""


async def run(command: str, how: str, url: str, folder: Path) -> tuple[int, str]:
    """How it ended, and its standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    close = {"closed": ">&-", "gone": ""}[how]
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'exec "$0" "$@" {close}', SLIPWAY, *command.split(),
        env={"PATH": os.environ["PATH"], "SLIPWAY_DATABASE_URL": url},
        cwd=folder, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    _, told = await asyncio.wait_for(process.communicate(b'{"message": "hello"}\n'), 60)
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_a_closed_output_is_one_that_leads_nowhere(database: TestDatabase, tmp_path: Path) -> None:
    ends = await asyncio.gather(*(run(command, "closed", database.url_app, tmp_path) for command in (*WORK, *SHOW)))
    assert dict(zip((*WORK, *SHOW), ends, strict=True)) == dict.fromkeys((*WORK, *SHOW), (0, ""))


async def test_a_reader_who_is_gone_is_no_failure_of_what_was_done_and_no_traceback(
    database: TestDatabase, tmp_path: Path
) -> None:
    ends = await asyncio.gather(*(run(command, "gone", database.url_app, tmp_path) for command in (*WORK, *SHOW)))
    expected = dict.fromkeys(WORK, (0, "")) | dict.fromkeys(SHOW, (1, ""))
    assert dict(zip((*WORK, *SHOW), ends, strict=True)) == expected


async def test_a_schema_is_brought_up_whole_though_nobody_reads_of_it(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    assert await run("db upgrade --marked", "gone", empty_database.url_owner, tmp_path) == (0, "")
    assert await value(empty_database.url_owner, "SELECT version_num FROM alembic_version") == read_chain(VERSIONS).head
