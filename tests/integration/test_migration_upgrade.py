"""Upgrades of real databases: releases that come, go back and are skipped; runners that meet, fail and are killed."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from servers.databases import TestDatabase
from servers.migration_images import (
    Step,
    contract,
    image,
    ledger_of,
    owner_settings,
    session,
    table,
    tables_of,
    value,
    version_of,
)
from servers.waiting import until
from slipway.migrations import operations, runner
from slipway.migrations.errors import MigrationError
from slipway.migrations.gate import GateVerdict, decide_gate
from slipway.migrations.inspection import inspect
from slipway.migrations.runner import stamp, upgrade
from slipway.migrations.script import read_chain

STEPS = {
    "a": table("a"),
    "b": table("b"),
    "drop_a": contract("drop_a", "a"),
    "c": table("c"),
    "drop_b": contract("drop_b", "b"),
}
RELEASES = {
    "one": ["a"],
    "two": ["a", "b"],
    "three": ["a", "b", "drop_a"],
    "four": ["a", "b", "drop_a", "c", "drop_b"],
}


@pytest.fixture
def releases(tmp_path: Path) -> dict[str, Path]:
    return {name: image(tmp_path / name, *(STEPS[step] for step in steps)) for name, steps in RELEASES.items()}


@dataclass(frozen=True)
class Case:
    name: str
    upgrades: list[str]
    tables: set[str]
    gates: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("fresh database", ["two"], {"a", "b"}, {"one": "open", "two": "open", "three": "open", "four": "waiting"}),
    Case("release by release", ["one", "two", "three", "four"], {"c"}, {"two": "refused", "four": "open"}),
    Case("skipped releases", ["one", "four"], {"c"}, {"one": "refused", "three": "refused", "four": "open"}),
    Case("the same release again", ["two", "two", "two"], {"a", "b"}, {"two": "open"}),
    Case("trailing contract held back", ["two", "three expand"], {"a", "b"}, {"two": "open", "three": "open"}),
    Case("trailing contract afterwards", ["two", "three expand", "three"], {"b"}, {"two": "refused", "three": "open"}),
    Case("older image after expand", ["two", "one"], {"a", "b"}, {"one": "open"}),
    Case("older image after contract", ["four", "two"], {"c"}, {"two": "refused"}),
    Case("expand on an empty database runs straight through", ["three expand"], {"b"}, {"three": "open"}),
]


async def gate_of(database: TestDatabase, versions: Path) -> GateVerdict:
    return (await inspect(owner_settings(database), versions)).verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_upgrades(case: Case, empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    for step in case.upgrades:
        name, _, phase = step.partition(" ")
        await upgrade(owner_settings(empty_database), versions=releases[name], phase="expand" if phase else "all")
    assert await tables_of(empty_database) == case.tables
    for name, state in case.gates.items():
        assert (await gate_of(empty_database, releases[name])).state == state, name


async def test_the_ledger_says_what_was_applied_in_order_and_that_contracts_were_announced(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    outcome = await upgrade(owner_settings(empty_database), versions=releases["four"])
    assert outcome.applied == ("a", "b", "drop_a", "c", "drop_b")
    assert await ledger_of(empty_database) == [
        ("a", "expand", False, True),
        ("b", "expand", False, True),
        ("drop_a", "contract", True, True),
        ("c", "expand", False, True),
        ("drop_b", "contract", True, True),
    ]
    assert await version_of(empty_database) == ["drop_b"]


async def test_a_contract_is_announced_before_it_runs_and_an_older_image_refuses_from_then_on(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    async with session(empty_database.url_owner) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE a IN ACCESS SHARE MODE")
        running = asyncio.create_task(upgrade(owner_settings(empty_database), versions=releases["three"]))
        await until(lambda: _announced(empty_database))
        assert (await gate_of(empty_database, releases["two"])).reason == "ContractAnnounced"
        assert (await gate_of(empty_database, releases["three"])).state == "open"
        assert "a" in await tables_of(empty_database)
    assert (await running).applied == ("drop_a",)
    assert (await gate_of(empty_database, releases["two"])).reason == "ContractApplied"


async def _announced(database: TestDatabase) -> bool:
    return ("drop_a", "contract", True, False) in await ledger_of(database)


async def test_a_revision_that_fails_leaves_neither_table_nor_ledger_row(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    bad = Step("bad", ["CREATE TABLE half (id bigint)", "INSERT INTO nowhere VALUES ('a-secret-in-a-statement')"])
    with pytest.raises(MigrationError, match=r"Revision bad failed: relation .nowhere. does not exist") as failure:
        await upgrade(owner_settings(empty_database), versions=image(tmp_path, table("a"), bad))
    assert "a-secret" not in str(failure.value)
    assert await tables_of(empty_database) == {"a"}
    assert await ledger_of(empty_database) == [("a", "expand", False, True)]
    mended = image(tmp_path, table("a"), Step("bad", ["CREATE TABLE half (id bigint)"]))
    assert (await upgrade(owner_settings(empty_database), versions=mended)).applied == ("bad",)


async def test_a_ledger_written_outside_the_transaction_would_lie(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: what is written before the revision, on its own, stays when the revision fails."""

    async def announce_and_claim(raw: asyncpg.Connection, revision: object) -> None:
        await raw.execute(
            "INSERT INTO slipway_ledger (revision, kind, applied_at) VALUES ($1, 'contract', now())",
            revision.id,  # type: ignore[attr-defined]
        )

    monkeypatch.setattr(runner.ledger, "announce", announce_and_claim)
    bad = image(tmp_path, Step("bad", ["SELECT 1/0"], kind="contract"))
    with pytest.raises(MigrationError, match="division by zero"):
        await upgrade(owner_settings(empty_database), versions=bad)
    assert await ledger_of(empty_database) == [("bad", "contract", False, True)]
    assert await version_of(empty_database) == []


# --- Databases that plain Alembic made


async def _made_by_alembic(database: TestDatabase, version: str) -> None:
    async with session(database.url_owner) as connection:
        await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        await connection.execute("CREATE TABLE a (id bigint); CREATE TABLE b (id bigint)")
        await connection.execute("INSERT INTO alembic_version VALUES ($1)", version)


async def test_a_database_without_a_ledger_is_adopted(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    await _made_by_alembic(empty_database, "b")
    assert (await gate_of(empty_database, releases["two"])).reason == "LedgerMissing"
    assert (await upgrade(owner_settings(empty_database), versions=releases["two"])).applied == ()
    assert await ledger_of(empty_database) == [("a", "expand", False, True), ("b", "expand", False, True)]
    assert (await gate_of(empty_database, releases["two"])).state == "open"


async def test_a_ledger_that_alembics_table_contradicts_is_put_right(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    async with session(empty_database.url_owner) as connection:
        await connection.execute("DROP TABLE b; UPDATE alembic_version SET version_num = 'a'")
    assert (await upgrade(owner_settings(empty_database), versions=releases["two"])).applied == ("b",)
    assert await tables_of(empty_database) == {"a", "b"}
    assert [row[0] for row in await ledger_of(empty_database)] == ["a", "b"]


async def test_an_unknown_database_is_refused_and_left_as_it_was(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await _made_by_alembic(empty_database, "somewhere-else")
    with pytest.raises(MigrationError, match="at somewhere-else, which this image doesn't know"):
        await upgrade(owner_settings(empty_database), versions=releases["two"])
    assert await value(empty_database.url_owner, "SELECT to_regclass('slipway_ledger')") is None


async def test_a_stamp_writes_the_ledger_too(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    settings = owner_settings(empty_database)
    await stamp(settings, "drop_a", versions=releases["four"])
    assert await version_of(empty_database) == ["drop_a"]
    assert [row[0] for row in await ledger_of(empty_database)] == ["a", "b", "drop_a"]
    await stamp(settings, "a", versions=releases["four"])
    assert await version_of(empty_database) == ["a"]
    assert [row[0] for row in await ledger_of(empty_database)] == ["a"]
    await stamp(settings, "base", versions=releases["four"])
    assert (await version_of(empty_database), await ledger_of(empty_database)) == ([], [])
    assert await tables_of(empty_database) == set()
    with pytest.raises(MigrationError, match="no revision 'nowhere'"):
        await stamp(settings, "nowhere", versions=releases["four"])


# --- Runners that meet and runners that die

DRIVER = """
import asyncio, json, os, sys
from pathlib import Path
from slipway.migrations import runner
from slipway.settings import Settings

url, versions, count, lock = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if lock == "unlocked":
    async def take_lock(raw, report):
        return None
    runner.take_lock = take_lock
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


# --- Logging


async def test_an_upgrade_leaves_the_logging_of_the_process_alone(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    ours = logging.getLogger("slipway.migrations.test")
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level, ours.disabled)
    await upgrade(owner_settings(empty_database), versions=releases["one"])
    assert before == (
        logging.root.level,
        list(logging.root.handlers),
        logging.getLogger("alembic").level,
        ours.disabled,
    )


async def test_the_verdict_on_a_real_ledger_is_the_pure_one(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    seen = await inspect(owner_settings(empty_database), releases["three"])
    assert seen.verdict == decide_gate(read_chain(releases["three"]), seen.rows)
