"""Time limits of an upgrade: locks that someone else holds, statements that take long, budgets that end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import Step, image, ledger_of, owner_settings, session, table, tables_of, value
from servers.waiting import until
from slipway.migrations import locks, runner
from slipway.migrations.errors import MigrationError
from slipway.migrations.runner import upgrade
from slipway.migrations.session import LOCK_KEY


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    return image(tmp_path, table("a"), Step("widen", ["ALTER TABLE a ADD COLUMN extra text"]))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(locks, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(locks, "SAMPLE_INTERVAL", 0.02)


QUERY = "SELECT count(*) FROM a WHERE 'a-secret-in-a-query' <> ''"


@pytest.mark.usefixtures("short_pauses")
async def test_a_lock_that_someone_holds_is_tried_again_and_its_holder_is_named(
    empty_database: TestDatabase, versions: Path
) -> None:
    settings = owner_settings(empty_database, migration_lock_timeout=0.4)
    await upgrade(settings, versions=versions, target="a")
    lines: list[str] = []
    async with session(empty_database.url_owner) as blocker:
        async with blocker.transaction():
            await blocker.execute(QUERY)
            running = asyncio.create_task(upgrade(settings, versions=versions, report=lines.append))
            pid = blocker.get_server_pid()
            await until(
                lambda: any(f"pid {pid} (user slipway_owner, idle in transaction, for " in line for line in lines),
                within=20,
            )
            assert not running.done()
        assert (await running).applied == ("widen",)
    assert "a-secret" not in "".join(lines)
    assert lines[-1].startswith("widen  expand  Step widen.  (")


@pytest.mark.usefixtures("short_pauses")
async def test_a_holder_of_another_role_is_named_as_far_as_it_can_be_seen(
    empty_database: TestDatabase, versions: Path
) -> None:
    settings = owner_settings(empty_database, migration_lock_timeout=0.4, database_grant_to="slipway_app")
    await upgrade(settings, versions=versions, target="a")
    lines: list[str] = []
    async with session(empty_database.url_app) as blocker:
        async with blocker.transaction():
            await blocker.execute(QUERY)
            running = asyncio.create_task(upgrade(settings, versions=versions, report=lines.append))
            await until(
                lambda: any(f"pid {blocker.get_server_pid()} (user slipway_app" in line for line in lines), within=20
            )
        assert (await running).applied == ("widen",)
    assert "a-secret" not in "".join(lines)


@pytest.mark.usefixtures("short_pauses")
async def test_tries_for_a_lock_are_bounded(
    empty_database: TestDatabase, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ATTEMPTS", 3)
    settings = owner_settings(empty_database, migration_lock_timeout=0.2)
    await upgrade(settings, versions=versions, target="a")
    lines: list[str] = []
    async with session(empty_database.url_owner) as blocker, blocker.transaction():
        await blocker.execute(QUERY)
        with pytest.raises(MigrationError, match="Revision widen got no lock in 3 tries; in the way: pid"):
            await upgrade(settings, versions=versions, report=lines.append)
    assert len(lines) == 2


async def test_without_another_try_the_first_lock_timeout_would_end_the_upgrade(
    empty_database: TestDatabase, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(runner, "LOCK_STATES", frozenset())
    settings = owner_settings(empty_database, migration_lock_timeout=0.2)
    await upgrade(settings, versions=versions, target="a")
    async with session(empty_database.url_owner) as blocker, blocker.transaction():
        await blocker.execute(QUERY)
        with pytest.raises(MigrationError, match="canceling statement due to lock timeout"):
            await upgrade(settings, versions=versions)


async def test_others_are_served_while_an_upgrade_stands_back(empty_database: TestDatabase, versions: Path) -> None:
    settings = owner_settings(empty_database, migration_lock_timeout=0.2)
    await upgrade(settings, versions=versions, target="a")
    lines: list[str] = []
    async with session(empty_database.url_owner) as blocker, session(empty_database.url_owner) as reader:
        async with blocker.transaction():
            await blocker.execute(QUERY)
            running = asyncio.create_task(upgrade(settings, versions=versions, report=lines.append))
            await until(lambda: lines, within=20)
            assert await reader.fetchval(QUERY, timeout=5) == 0
        await running


async def test_a_statement_that_takes_too_long_is_ended(empty_database: TestDatabase, tmp_path: Path) -> None:
    settings = owner_settings(empty_database, migration_statement_timeout=0.2)
    versions = image(tmp_path, Step("slow", ["CREATE TABLE half (id bigint)", "SELECT pg_sleep(60)"]))
    with pytest.raises(MigrationError, match="Revision slow failed: canceling statement due to statement timeout"):
        await upgrade(settings, versions=versions)
    assert await tables_of(empty_database) == set()


async def test_the_budget_ends_a_revision_and_nothing_of_it_stays(empty_database: TestDatabase, tmp_path: Path) -> None:
    settings = owner_settings(empty_database, migration_budget=1)
    versions = image(tmp_path, table("a"), Step("slow", ["CREATE TABLE half (id bigint)", "SELECT pg_sleep(60)"]))
    with pytest.raises(MigrationError, match="budget of 1 s is used up"):
        await upgrade(settings, versions=versions)
    await until(lambda: _runner_is_gone(empty_database))
    assert await tables_of(empty_database) == {"a"}
    assert [row[0] for row in await ledger_of(empty_database)] == ["a"]


async def _runner_is_gone(database: TestDatabase) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slipway db upgrade' AND datname = $1"
    return await value(database.url_superuser, query, database.name) == 0


async def test_waiting_for_another_runner_is_said_and_counts_to_the_budget(
    empty_database: TestDatabase, versions: Path
) -> None:
    lines: list[str] = []
    async with session(empty_database.url_owner) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        with pytest.raises(MigrationError, match="budget"):
            await upgrade(owner_settings(empty_database, migration_budget=1), versions=versions, report=lines.append)
    assert lines == ["Another runner is at work on this database; waiting for it."]
    assert await tables_of(empty_database) == set()


async def test_a_concurrent_build_waits_for_an_old_transaction_longer_than_for_a_lock(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TELL_AFTER", 0.3)
    monkeypatch.setattr(locks, "SAMPLE_INTERVAL", 0.05)
    build = Step("build", body="create_index_concurrently('a_id', 'a', ['id'])")
    versions = image(tmp_path, table("a"), build)
    settings = owner_settings(empty_database, migration_lock_timeout=0.1, migration_statement_timeout=0.1)
    await upgrade(owner_settings(empty_database), versions=versions, target="a")
    lines: list[str] = []
    async with session(empty_database.url_owner) as old:
        async with old.transaction():
            await old.execute("INSERT INTO a VALUES (1)")
            running = asyncio.create_task(upgrade(settings, versions=versions, report=lines.append))
            await until(lambda: [line for line in lines if line.startswith("Waiting for pid ")], within=20)
        assert (await running).applied == ("build",)
    assert await value(empty_database.url_owner, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_id'::regclass")
    assert not any("no lock" in line for line in lines)
