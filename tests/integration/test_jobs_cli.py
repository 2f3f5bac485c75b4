from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from servers.databases import TestDatabase
from servers.jobs import enqueue, rows
from servers.staging import staged
from slipway.cli import root
from slipway.storage.engine import Database

Slipway = Callable[..., Awaitable[Result]]


@pytest.fixture
async def slipway(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> Slipway:
    """Runs `slipway jobs …`, in a thread, because it has an event loop of its own."""
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", database.url_app)
    return lambda *arguments: asyncio.to_thread(CliRunner().invoke, root, ["jobs", *arguments])


@pytest.fixture
async def dead_letters(slipway: Slipway, db: Database) -> list[int]:
    """Two dead letters, then one job that waits and one that runs."""
    del slipway
    for name in ("send_mail", "export_items", "waits", "runs"):
        await enqueue(db, name, {"link": "hunter2"}, dedupe_key=name)
    async with staged(db) as session:
        await session.execute(
            text(
                "UPDATE jobs SET dead_at = now(), attempts = 8, last_error = 'JobError: The mail server is away.',"
                " created_at = now() - interval '3 hours' WHERE name IN ('send_mail', 'export_items')"
            )
        )
        await session.execute(
            text(
                "UPDATE jobs SET lease = gen_random_uuid(), run_after = now() + interval '1 minute' WHERE name = 'runs'"
            )
        )
    return [row.id for row in await rows(db)][:2]


async def test_jobs_are_listed_without_what_they_carry(slipway: Slipway, dead_letters: list[int]) -> None:
    shown = await slipway("list")
    lines = [line.split(maxsplit=5) for line in shown.output.splitlines()]
    assert lines[0] == ["ID", "NAME", "STATE", "ATTEMPTS", "AGE", "LAST ERROR"]
    assert lines[1] == [
        str(dead_letters[0]), "send_mail", "dead", "8", "3h", "JobError: The mail server is away.",
    ]  # fmt: skip
    assert [line[2] for line in lines[1:]] == ["dead", "dead", "waiting", "running"]
    assert "hunter2" not in shown.output


async def test_dead_letters_are_listed_alone(slipway: Slipway, dead_letters: list[int]) -> None:
    shown = await slipway("list", "--dead")
    assert [int(line.split()[0]) for line in shown.output.splitlines()[1:]] == dead_letters


async def test_a_dead_letter_is_put_back_with_all_its_attempts(
    slipway: Slipway, db: Database, dead_letters: list[int]
) -> None:
    done = await slipway("retry", str(dead_letters[0]))
    assert (done.exit_code, done.output) == (0, f"Put back: {dead_letters[0]}.\n")
    first, second, *_ = await rows(db)
    assert (first.dead_at, first.attempts) == (None, 0)
    assert second.dead_at is not None


async def test_all_dead_letters_are_put_back_at_once(slipway: Slipway, db: Database, dead_letters: list[int]) -> None:
    done = await slipway("retry", "--all")
    assert done.output == f"Put back: {dead_letters[0]}, {dead_letters[1]}.\n"
    assert all(row.dead_at is None for row in await rows(db))
    assert (await slipway("retry", "--all")).output == "Put back: none.\n"
    assert await _told(db) == [("jobs.revive", None)]


async def _told(db: Database) -> list[tuple[str, str | None]]:
    told = text("SELECT action, resource FROM audit WHERE action LIKE 'jobs.%' ORDER BY attempt")
    return [tuple(row) for row in await db.read(lambda session: session.execute(told))]


async def test_a_dead_letter_whose_work_is_queued_again_stays(
    slipway: Slipway, db: Database, dead_letters: list[int]
) -> None:
    await enqueue(db, "send_mail", dedupe_key="send_mail")
    done = await slipway("retry", str(dead_letters[0]))
    assert done.exit_code == 1
    assert f"Not put back: {dead_letters[0]}" in done.output


async def test_a_job_is_dropped_unless_it_runs(slipway: Slipway, db: Database, dead_letters: list[int]) -> None:
    waiting, running = [row.id for row in await rows(db)][2:]
    assert (await slipway("drop", str(dead_letters[0]))).output == f"Dropped: {dead_letters[0]}.\n"
    assert (await slipway("drop", str(waiting))).exit_code == 0
    assert (await slipway("drop", str(running))).exit_code == 1
    assert [row.id for row in await rows(db)] == [dead_letters[1], running]
    dropped = [("jobs.drop", f"jobs/{job}") for job in (dead_letters[0], waiting)]
    assert await _told(db) == dropped, "what runs wasn't, and nothing tells that it was"


@pytest.mark.parametrize(
    "arguments",
    [["retry"], ["retry", "1", "--all"], ["retry", "x"], ["drop", "0"], ["drop", str(2**63)], ["retry", str(2**63)]],
)
async def test_what_makes_no_sense_is_refused_before_the_database_is_asked(
    slipway: Slipway, arguments: list[str]
) -> None:
    assert (await slipway(*arguments)).exit_code == 2


async def test_a_database_that_is_away_is_told_in_a_sentence(slipway: Slipway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://slipway:hunter2@127.0.0.1:1/none")
    failed = await slipway("list")
    assert (failed.exit_code, failed.output) == (
        1,
        "Error: The database can't be used: ConnectionRefusedError.\n",
    )
