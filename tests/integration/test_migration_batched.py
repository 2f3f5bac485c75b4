"""Backfills: small transactions, taken up again after a kill, giving way to who uses the table."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import Step, image, ledger_of, owner_settings, session, table, value
from servers.waiting import until
from slipway.migrations import batched as backfills
from slipway.migrations import locks
from slipway.migrations.errors import MigrationError
from slipway.migrations.inspection import plan
from slipway.migrations.progress import Waiting, Working
from slipway.migrations.runner import upgrade

IMPORT = "from slipway.migrations.batched import batched\n"
ROWS = "SELECT id FROM a WHERE {} filled IS NULL ORDER BY id LIMIT :batch FOR UPDATE"
BY_ROWS = f"UPDATE a SET filled = id WHERE id IN ({ROWS.format('')})"  # noqa: S608 - constants
BY_KEY = f"UPDATE a SET filled = id WHERE id IN ({ROWS.format('id > :after AND')}) RETURNING id"  # noqa: S608 - constants
PREPARE = Step("rows", [
    "CREATE TABLE a (id bigint PRIMARY KEY, filled bigint, version integer DEFAULT 0)",
    "CREATE TABLE batches (xact bigint, rows bigint)",
    "INSERT INTO a (id) SELECT generate_series(1, 2000)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO batches SELECT txid_current(), count(*) FROM changed WHERE filled IS NOT NULL; RETURN NULL; END $$",
    "CREATE TRIGGER note AFTER UPDATE ON a REFERENCING NEW TABLE AS changed FOR EACH STATEMENT"
    " EXECUTE FUNCTION note()",
])  # fmt: skip
"""A table of 2,000 rows that keeps count of the transactions that fill its new column."""


def backfill(statement: str, options: str = "batch=100, share=1") -> Step:
    return Step("fill", body=f"{IMPORT}batched({statement!r}, {options})")


async def batches(database: TestDatabase) -> list[tuple[int, int]]:
    """(transaction, rows) of every statement that changed rows."""
    async with session(database.url_owner) as connection:
        return [tuple(row) for row in await connection.fetch("SELECT xact, rows FROM batches WHERE rows > 0")]


async def left(database: TestDatabase) -> int:
    found: int = await value(database.url_owner, "SELECT count(*) FROM a WHERE filled IS DISTINCT FROM id")
    return found


@pytest.mark.parametrize("step", [backfill(BY_ROWS), backfill(BY_KEY, "batch=100, share=1, after=0")])
async def test_every_row_is_changed_once_in_transactions_of_one_batch(
    empty_database: TestDatabase, tmp_path: Path, step: Step
) -> None:
    heard: list[Waiting | Working] = []
    versions = image(tmp_path, PREPARE, step)
    outcome = await upgrade(owner_settings(empty_database), versions=versions, listen=heard.append)
    assert outcome.applied == ("rows", "fill")
    assert await left(empty_database) == 0
    done = await batches(empty_database)
    assert sum(rows for _, rows in done) == 2000
    assert max(rows for _, rows in done) <= 100
    assert len({transaction for transaction, _ in done}) == len(done)
    assert Working("The backfill has changed 100 rows so far.") in heard


async def test_in_one_statement_all_rows_would_be_locked_at_once(empty_database: TestDatabase, tmp_path: Path) -> None:
    """Negative control."""
    versions = image(tmp_path, PREPARE, Step("fill", ["UPDATE a SET filled = id"]))
    await upgrade(owner_settings(empty_database), versions=versions)
    assert [rows for _, rows in await batches(empty_database)] == [2000]


RUNNER = """
import asyncio, sys
from pathlib import Path
from slipway.migrations.runner import upgrade
from slipway.settings import Settings
asyncio.run(upgrade(Settings(database_url=sys.argv[1]), versions=Path(sys.argv[2])))
"""


async def test_after_a_kill_the_next_run_goes_on_where_it_was(empty_database: TestDatabase, tmp_path: Path) -> None:
    versions = image(tmp_path, PREPARE, backfill(BY_KEY, "batch=100, share=1, after=0"))
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=versions, target="rows")
    async with session(empty_database.url_owner) as holder:
        async with holder.transaction():
            await holder.execute("SELECT FROM a WHERE id = 950 FOR UPDATE")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RUNNER, empty_database.url_owner, str(versions), stdout=subprocess.DEVNULL
            )
            await until(lambda: _has_changed(empty_database, 900), within=20)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert [row[0] for row in await ledger_of(empty_database)] == ["rows"]
    assert (await upgrade(settings, versions=versions)).applied == ("fill",)
    assert await left(empty_database) == 0
    assert sum(rows for _, rows in await batches(empty_database)) == 2000


async def _has_changed(database: TestDatabase, rows: int) -> bool:
    return sum(count for _, count in await batches(database)) == rows


async def test_a_row_that_someone_locks_is_waited_for_shortly_and_comes_later(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(locks, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(backfills, "LOCK_TIMEOUT", "50ms")
    versions = image(tmp_path, PREPARE, backfill(BY_ROWS))
    settings = owner_settings(empty_database, migration_lock_timeout=30)
    await upgrade(settings, versions=versions, target="rows")
    tries = _count_pauses(monkeypatch)
    async with session(empty_database.url_owner) as holder:
        async with holder.transaction():
            await holder.execute("UPDATE a SET version = 1 WHERE id = 950")
            running = asyncio.create_task(upgrade(settings, versions=versions))
            await until(lambda: len(tries) >= 3, within=20)
            assert await left(empty_database) == 1100
            # Nobody has to wait for the rows of the batch that got no further.
            await holder.execute("UPDATE a SET version = 1 WHERE id = 901", timeout=5)
        assert (await running).applied == ("fill",)
    assert await left(empty_database) == 0


def _count_pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    tries: list[int] = []

    def pause_before(attempt: int) -> float:
        tries.append(attempt)
        return 0.05

    monkeypatch.setattr(backfills, "pause_before", pause_before)
    return tries


async def test_tries_for_a_row_are_bounded(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(backfills, "ATTEMPTS", 3)
    monkeypatch.setattr("slipway.migrations.runner.ATTEMPTS", 1)
    tries = _count_pauses(monkeypatch)
    versions = image(tmp_path, PREPARE, backfill(BY_ROWS))
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=versions, target="rows")
    async with session(empty_database.url_owner) as holder, holder.transaction():
        await holder.execute("SELECT FROM a WHERE id = 1 FOR UPDATE")
        with pytest.raises(MigrationError) as failure:
            await upgrade(settings, versions=versions)
    assert failure.value.reason == "LockNotAvailable"
    assert tries == [2, 3]


async def test_rows_that_come_behind_a_walk_are_changed_by_the_next(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    late = (
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO a (id) VALUES (-OLD.id) ON CONFLICT DO NOTHING; RETURN NULL; END $$",
        "CREATE TRIGGER late AFTER UPDATE ON a FOR EACH ROW WHEN (OLD.id IN (500, 1500)) EXECUTE FUNCTION late()",
    )
    step = backfill(BY_KEY, "batch=100, share=1, after=-10000")
    await upgrade(owner_settings(empty_database), versions=image(tmp_path, PREPARE, Step("late", late), step))
    assert await left(empty_database) == 0
    assert await value(empty_database.url_owner, "SELECT count(*) FROM a") == 2002


async def test_the_budget_ends_a_backfill_between_two_batches_and_what_is_done_stays(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "SHORTEST_PAUSE", 1.0)
    versions = image(tmp_path, PREPARE, backfill(BY_ROWS))
    await upgrade(owner_settings(empty_database), versions=versions, target="rows")
    with pytest.raises(MigrationError) as failure:
        await upgrade(owner_settings(empty_database, migration_budget=2), versions=versions)
    assert failure.value.reason == "BudgetExceeded"
    assert 0 < await left(empty_database) < 2000


async def test_a_batch_that_takes_too_long_is_made_smaller(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "AIM", 0.0)
    await upgrade(
        owner_settings(empty_database), versions=image(tmp_path, PREPARE, backfill(BY_ROWS, "batch=1024, share=1"))
    )
    assert [rows for _, rows in await batches(empty_database)][:4] == [1024, 512, 256, 128]


async def test_the_database_rests_for_its_share_of_the_time(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(backfills, "monotonic", lambda: float(next(clock)))
    pauses: list[float] = []
    monkeypatch.setattr(backfills._Backfill, "_sleep", lambda _, seconds: pauses.append(seconds))  # noqa: SLF001
    versions = image(tmp_path, PREPARE, backfill(BY_ROWS, "batch=2000, share=0.25"))
    await upgrade(owner_settings(empty_database), versions=versions)
    assert pauses[0] == 3.0  # one second of work, three of rest


async def test_a_plan_shows_one_batch(empty_database: TestDatabase, tmp_path: Path) -> None:
    step = backfill(BY_KEY, "batch=100, after=0")
    planned = await plan(owner_settings(empty_database), versions=image(tmp_path, PREPARE, step))
    sql = planned.sql[1].sql
    assert sql is not None
    assert "id > 0 AND filled IS NULL ORDER BY id LIMIT 100 FOR UPDATE) RETURNING id;" in sql
    assert sql.index("COMMIT;") < sql.index("UPDATE a SET")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("batch=0", "1 to 10000 rows"),
        ("batch=10001", "1 to 10000 rows"),
        ("share=0", "above 0"),
        ("share=2", "above 0"),
    ],
)
async def test_what_can_not_work_is_refused(
    empty_database: TestDatabase, tmp_path: Path, options: str, sentence: str
) -> None:
    versions = image(tmp_path, table("a"), backfill(BY_ROWS, options))
    with pytest.raises(ValueError, match=sentence):
        await upgrade(owner_settings(empty_database), versions=versions)


async def test_a_walk_that_does_not_return_its_key_is_refused(empty_database: TestDatabase, tmp_path: Path) -> None:
    step = backfill(BY_KEY.removesuffix(" RETURNING id"), "after=0")
    with pytest.raises(MigrationError, match="must end with RETURNING its key"):
        await upgrade(owner_settings(empty_database), versions=image(tmp_path, PREPARE, step))
