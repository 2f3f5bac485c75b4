"""`slipway audit export`: the audit log as JSON lines, the oldest first, in batches."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from integration.conftest import Person
from servers.databases import TestDatabase
from servers.migration_images import session
from slipway.audit import queries
from slipway.cli import root

ACTOR = UUID(int=7)
Export = Callable[..., Awaitable[Result]]


@pytest.fixture
async def export(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Runs `slipway audit export …`, in a thread, because it has an event loop of its own."""
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", database.url_app)
    return lambda *words: asyncio.to_thread(CliRunner().invoke, root, ["audit", "export", *words])


async def fill(database: TestDatabase, rows: int) -> list[str]:
    """Rows of the same second, two of each moment; their attempts in order."""
    async with session(database.url_app) as connection:
        await connection.execute(
            "INSERT INTO audit (attempt, kind, action, resource, actor, request_id, at) SELECT"
            " lpad(to_hex(n), 32, '0')::uuid, 'work', CASE n % 2 WHEN 0 THEN 'boats.row' ELSE 'boats.sail' END,"
            " 'boats/' || n, $1, 'ünï', '2026-11-01 12:00:00Z'::timestamptz + interval '1 ms' * (n / 2)"
            " FROM generate_series(1, $2::int) n",
            ACTOR,
            rows,
        )
    return [str(UUID(int=number)) for number in range(1, rows + 1)]


def entries(done: Result) -> list[dict[str, Any]]:
    assert (done.exit_code, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_every_entry_is_printed_once_in_order_however_many_are_read_at_once(
    export: Export, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = await fill(database, 6)
    for batch in (1, 2, 3, 5, 6, 7):
        monkeypatch.setattr(queries, "BATCH", batch)
        assert [entry["attempt"] for entry in entries(await export())] == attempts


async def test_no_more_than_a_batch_is_read_at_once(
    export: Export, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    fetch = queries.fetch

    async def counted(*asked: Any) -> Any:
        rows = await fetch(*asked)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(queries, "BATCH", 4)
    monkeypatch.setattr(queries, "fetch", counted)
    await fill(database, 10)
    assert len(entries(await export())) == 10
    assert read == [4, 4, 2]


async def test_a_line_is_what_the_api_shows(export: Export, admin: Person) -> None:
    shown = (await admin.client.get("/api/v1/audit")).json()["items"]
    assert entries(await export()) == shown[::-1]
    assert len(shown) >= 3


FOUND: list[tuple[list[str], list[int]]] = [
    (["--action", "boats.row"], [2, 4, 6]),
    (["--resource", "boats/3"], [3]),
    (["--actor", str(ACTOR)], [1, 2, 3, 4, 5, 6]),
    (["--actor", str(UUID(int=8))], []),
    (["--request-id", "ünï", "--until", "2026-11-01T13:00:00.002+01:00"], [1, 2, 3]),
    (["--since", "2026-11-01T12:00:00.001Z", "--until", "2026-11-01T12:00:00.002Z"], [2, 3]),
]


async def test_options_leave_those_that_fit(export: Export, database: TestDatabase) -> None:
    await fill(database, 6)
    for words, found in FOUND:
        assert [UUID(entry["attempt"]).int for entry in entries(await export(*words))] == found, words


REFUSED: list[tuple[list[str], str]] = [
    (["--since", "yesterday"], "Invalid value for '--since': must be a time with its zone"),
    (["--until", "2026-11-01T12:00:00"], "Invalid value for '--until': must be a time with its zone"),
    (["--action", "create"], "Invalid value for '--action': must be a kind of thing and what was done"),
    (["--resource", "boats"], "Invalid value for '--resource': must be a kind of thing and its id"),
    (["--actor", "ada@example.com"], "Invalid value for '--actor'"),
    (["--since", "2026-11-02T00:00:00Z", "--until", "2026-11-01T00:00:00Z"], "--until must be later than"),
    (["--limit", "5"], "No such option"),
]


async def test_what_makes_no_sense_is_refused_in_a_sentence(export: Export) -> None:
    for words, said in REFUSED:
        refused = await export(*words)
        assert (refused.exit_code, refused.stdout) == (2, ""), words
        assert f"Error: {said}" in refused.stderr


async def test_a_database_that_is_away_is_told_without_the_password(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://slipway:hunter2@127.0.0.1:1/none")
    failed = await export()
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: The database can't be reached: ")
    assert "hunter2" not in failed.stderr


async def test_a_pipe_to_the_database_that_breaks_is_no_reader_who_has_had_enough(
    export: Export, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, asked = queries.fetch, itertools.count()

    async def broken(*given: Any) -> Any:
        if next(asked):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return await fetch(*given)

    monkeypatch.setattr(queries, "BATCH", 4)
    monkeypatch.setattr(queries, "fetch", broken)
    await fill(database, 10)
    cut = await export()
    assert (cut.exit_code, len(cut.stdout.splitlines())) == (1, 4)
    assert cut.stderr == "Error: The database can't be reached: Broken pipe.\n"


@pytest.mark.parametrize(("rows", "reader", "lines"), [(10_000, "head --lines=1", 1), (10, "true", 0)])
async def test_who_has_read_enough_ends_it_without_a_complaint(
    database: TestDatabase, tmp_path: Path, rows: int, reader: str, lines: int
) -> None:
    attempts = await fill(database, rows)
    slipway = Path(sys.executable).parent / "slipway"

    def piped() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {slipway} audit export | {reader}"],
            env={"PATH": os.environ["PATH"], "SLIPWAY_DATABASE_URL": database.url_app},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = await asyncio.to_thread(piped)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["attempt"] for line in done.stdout.splitlines()] == attempts[:lines]
