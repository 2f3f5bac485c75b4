"""Runners that meet, runners that are killed, and index builds that end half-way: nothing stays half done."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from servers.databases import TestDatabase
from servers.migration_images import Step, image, ledger_of, owner_settings, session, table, tables_of, value
from servers.waiting import until
from slipway.migrations import operations
from slipway.migrations.errors import MigrationError
from slipway.migrations.runner import upgrade

DRIVER = """
import asyncio, json, os, sys
from pathlib import Path
from slipway.migrations import runner, session
from slipway.settings import Settings

url, versions, count, lock = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if lock == "unlocked":
    async def take_lock(raw, progress):
        return None
    session.take_lock = take_lock
settings = Settings(database_url=url, migration_budget=60, migration_lock_timeout=60)

def run():
    try:
        outcome = asyncio.run(runner.upgrade(settings, versions=versions))
        said = list(outcome.applied)
    except Exception as error:
        said = type(error).__name__
    os.write(1, (json.dumps(said) + "\\n").encode())  # one write, so that lines of ten processes don't mix

children = []
for _ in range(count):
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


async def _ten_runners(database: TestDatabase, versions: Path, lock: str) -> list[object]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DRIVER, database.url_owner, str(versions), "10", lock, stdout=subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return [json.loads(line) for line in printed.decode().splitlines()]


def _slow_image(folder: Path) -> Path:
    slow = Step("slow", ["CREATE TABLE slow (id bigint)", "SELECT pg_sleep(0.1)"])
    index = Step("index", body="create_index_concurrently('slow_id', 'slow', ['id'])")
    return image(folder, table("a"), slow, index)


async def test_of_ten_runners_one_works_and_the_others_find_nothing_to_do(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    outcomes = await _ten_runners(empty_database, _slow_image(tmp_path), "locked")
    assert outcomes.count(["a", "slow", "index"]) == 1
    assert outcomes.count([]) == 9
    assert [row[0] for row in await ledger_of(empty_database)] == ["a", "slow", "index"]


async def test_without_the_lock_runners_collide(empty_database: TestDatabase, tmp_path: Path) -> None:
    """Negative control."""
    outcomes = await _ten_runners(empty_database, _slow_image(tmp_path), "unlocked")
    assert any(isinstance(outcome, str) for outcome in outcomes)


async def _runner_process(database: TestDatabase, versions: Path) -> asyncio.subprocess.Process:
    code = DRIVER.replace("child = os.fork()", "child = 0")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, database.url_owner, str(versions), "1", "locked", stdout=subprocess.DEVNULL
    )


async def _sessions_of_runners(database: TestDatabase, waiting_for: str = "%") -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'slipway db upgrade'"
        " AND coalesce(wait_event, '') LIKE $2"
    )
    found: int = await value(database.url_superuser, query, database.name, waiting_for)
    return found


async def test_a_runner_killed_in_the_middle_leaves_nothing_half_done_and_the_next_one_finishes(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    middle = Step("middle", ["CREATE TABLE middle (id bigint)", "SELECT pg_advisory_xact_lock(42)"])
    versions = image(tmp_path, table("a"), middle, table("z"))
    async with session(empty_database.url_superuser) as holder:
        await holder.execute("SELECT pg_advisory_lock(42)")
        process = await _runner_process(empty_database, versions)
        await until(lambda: _sessions_of_runners(empty_database, "advisory"), within=20)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        # The server notices although its statement still waits, so the next runner needn't wait for that.
        await until(lambda: _no_runner(empty_database), within=10)
    assert await tables_of(empty_database) == {"a"}
    assert [row[0] for row in await ledger_of(empty_database)] == ["a"]
    assert (await upgrade(owner_settings(empty_database), versions=versions)).applied == ("middle", "z")
    assert await tables_of(empty_database) == {"a", "middle", "z"}


async def _no_runner(database: TestDatabase) -> bool:
    return await _sessions_of_runners(database) == 0


async def test_a_runner_killed_in_a_concurrent_build_is_finished_by_the_next(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    versions = image(tmp_path, table("a"), Step("index", body="create_index_concurrently('a_id', 'a', ['id'])"))
    async with session(empty_database.url_superuser) as old:
        await upgrade(owner_settings(empty_database), versions=versions, target="a")
        transaction = old.transaction()
        await transaction.start()
        await old.execute("INSERT INTO a VALUES (1)")
        process = await _runner_process(empty_database, versions)
        await until(lambda: _index_is_valid(empty_database, "a_id", valid=False), within=20)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await until(lambda: _no_runner(empty_database), within=10)
        await transaction.rollback()
    assert await _index_is_valid(empty_database, "a_id", valid=False)
    assert (await upgrade(owner_settings(empty_database), versions=versions)).applied == ("index",)
    assert await _index_is_valid(empty_database, "a_id")


# --- Concurrent index builds


async def _index_is_valid(database: TestDatabase, name: str, *, valid: bool = True) -> bool:
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
    return await value(database.url_owner, query, name) is valid


async def _half_built(database: TestDatabase, folder: Path) -> Path:
    """A unique build failed on duplicates, which were mended afterwards; the invalid index is still there."""
    unique = Step("unique", body="create_index_concurrently('a_id_key', 'a', ['id'], unique=True)")
    versions = image(folder, table("a"), unique)
    await upgrade(owner_settings(database), versions=versions, target="a")
    async with session(database.url_owner) as connection:
        await connection.execute("INSERT INTO a VALUES (1), (1)")
        with pytest.raises(MigrationError, match="Revision unique failed: could not create unique index") as failure:
            await upgrade(owner_settings(database), versions=versions)
        assert "(1)" not in str(failure.value)
        await connection.execute("DELETE FROM a; INSERT INTO a VALUES (1)")
    assert await _index_is_valid(database, "a_id_key", valid=False)
    assert [row[0] for row in await ledger_of(database)] == ["a"]
    return versions


async def test_a_concurrent_build_that_failed_half_way_runs_again(empty_database: TestDatabase, tmp_path: Path) -> None:
    versions = await _half_built(empty_database, tmp_path)
    assert (await upgrade(owner_settings(empty_database), versions=versions)).applied == ("unique",)
    assert await _index_is_valid(empty_database, "a_id_key")
    async with session(empty_database.url_owner) as connection:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO a VALUES (1)")


async def test_without_dropping_the_namesake_the_invalid_index_would_be_taken_for_the_real_one(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    versions = await _half_built(empty_database, tmp_path)
    monkeypatch.setattr(operations, "drop_invalid_namesake", lambda *_, **__: None)
    await upgrade(owner_settings(empty_database), versions=versions)
    assert await _index_is_valid(empty_database, "a_id_key", valid=False)


async def test_a_valid_index_of_an_earlier_try_is_kept(empty_database: TestDatabase, tmp_path: Path) -> None:
    two = Step(
        "two", body="create_index_concurrently('a_one', 'a', ['id'])\ncreate_index_concurrently('a_two', 'a', ['nope'])"
    )
    with pytest.raises(MigrationError, match="nope"):
        await upgrade(owner_settings(empty_database), versions=image(tmp_path, table("a"), two))
    before = await value(empty_database.url_owner, "SELECT 'a_one'::regclass::oid")
    mended = Step("two", body=two.body.replace("nope", "id"))
    await upgrade(owner_settings(empty_database), versions=image(tmp_path, table("a"), mended))
    assert await value(empty_database.url_owner, "SELECT 'a_one'::regclass::oid") == before
    assert await _index_is_valid(empty_database, "a_two")


@pytest.mark.parametrize("other", ["CREATE INDEX x ON b (id)", "CREATE INDEX x ON a (id)"])
async def test_another_index_of_that_name_is_not_touched(
    empty_database: TestDatabase, tmp_path: Path, other: str
) -> None:
    build = Step("build", body="create_index_concurrently('x', 'a', ['id'], unique=True)")
    versions = image(tmp_path, table("a"), table("b"), Step("taken", [other]), build)
    with pytest.raises(MigrationError, match="another index named x"):
        await upgrade(owner_settings(empty_database), versions=versions)
    assert await _index_is_valid(empty_database, "x")


async def test_an_index_is_dropped_concurrently_also_when_it_is_gone_already(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    steps = [
        table("a"),
        Step("index", ["CREATE INDEX a_id ON a (id)"]),
        Step("drop", body="drop_index_concurrently('a_id')\ndrop_index_concurrently('a_id')"),
    ]
    await upgrade(owner_settings(empty_database), versions=image(tmp_path, *steps))
    assert await value(empty_database.url_owner, "SELECT to_regclass('a_id')") is None
