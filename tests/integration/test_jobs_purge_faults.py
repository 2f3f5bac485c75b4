"""A table that can't be purged is told of, and holds up none of the others."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic

import asyncpg
import pytest

from integration.test_jobs_purge import TABLES, counts, fill, purge_once
from servers.databases import TestDatabase
from servers.migration_images import session as connected
from servers.silence import silent_proxy
from servers.told import said
from slipway.jobs import periodic
from slipway.jobs.kinds import JobError
from slipway.jobs.periodic import Purge
from slipway.settings import Settings
from slipway.storage import unit
from slipway.storage.engine import Database
from slipway.telemetry.registry import REGISTRY
from slipway.worker import EXPIRIES

FIRST = "exports"
"""All others come after it, in:"""
IN_TURN = sorted(EXPIRIES, key=lambda expiry: expiry.table != FIRST)

SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END $$;
CREATE TRIGGER slow BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION slow();
"""


def results(table: str) -> dict[str, float]:
    names = ("done", "unfinished", "failed")
    labels = [{"table": table, "result": name} for name in names]
    return {label["result"]: REGISTRY.get_sample_value("slipway_purges_total", label) or 0 for label in labels}


@asynccontextmanager
async def broken(owner: asyncpg.Connection, way: str) -> AsyncIterator[None]:
    """While the block runs, nothing can be deleted from exports."""
    statement = {
        "rights revoked": f"REVOKE ALL ON {FIRST} FROM slipway_app",
        "missing": f"ALTER TABLE {FIRST} RENAME TO elsewhere",
        "slow": SLOW.format(table=FIRST, seconds=60),
    }[way]
    await owner.execute(statement)
    yield
    await owner.execute("ALTER TABLE IF EXISTS elsewhere RENAME TO exports; GRANT ALL ON exports TO slipway_app")


@pytest.mark.parametrize("way", ["rights revoked", "missing", "slow"])
async def test_a_table_that_can_not_be_purged_fails_alone_and_is_told(
    settings: Settings,
    db: Database,
    database: TestDatabase,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    await fill(db)
    before = results(FIRST)
    hurried = settings.with_changes(job_timeout=9)
    async with connected(database.url_owner) as owner:
        async with broken(owner, way):
            began = monotonic()
            with pytest.raises(JobError, match=r"could not be deleted from .*exports") as told:
                await purge_once(hurried, db, IN_TURN)
            assert monotonic() - began < 7, "in its share of the job's time"
        assert await counts(db, TABLES) == {**dict.fromkeys(TABLES, 1), FIRST: 2}
    assert not any(table in str(told.value) for table in TABLES if table != FIRST)
    assert results(FIRST)["failed"] == before["failed"] + 1
    logged = [(record.table, record.levelno) for record in caplog.records if hasattr(record, "table")]
    assert (FIRST, logging.WARNING) in logged
    assert ("WARNING", "expired rows can't be deleted") in said(caplog, "slipway.jobs")


async def test_the_lock_of_a_table_is_waited_for_a_moment_and_not_for_the_whole_share(
    settings: Settings, db: Database, database: TestDatabase
) -> None:
    await fill(db)
    async with connected(database.url_owner) as owner, owner.transaction():
        await owner.execute(f"LOCK TABLE {FIRST} IN ACCESS EXCLUSIVE MODE")
        began = monotonic()
        with pytest.raises(JobError, match=r"could not be deleted from exports\."):
            await purge_once(settings.with_changes(job_timeout=300), db, IN_TURN)
        assert 1 <= monotonic() - began < 8
    assert await counts(db, TABLES) == {**dict.fromkeys(TABLES, 1), FIRST: 2}


async def test_a_database_that_falls_silent_costs_each_expiry_its_share_at_most(
    settings: Settings, database: TestDatabase
) -> None:
    hurried = settings.with_changes(job_timeout=9)
    async with silent_proxy(database.app.port) as proxy:
        db = Database(hurried, replace(database.app, port=proxy.port))
        try:
            await purge_once(hurried, db, IN_TURN)
            proxy.silence()
            began = monotonic()
            with pytest.raises(JobError, match=r"could not be deleted from exports\."):
                await purge_once(hurried, db, IN_TURN)  # on new connections, once the first was given up
            assert monotonic() - began < 7
        finally:
            await db.close()


async def test_without_failing_alone_those_after_it_would_grow(
    settings: Settings, db: Database, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unguarded(purge: Purge, expiry: object) -> str:
        return "done" if await purge._delete_all(expiry) else "unfinished"  # type: ignore[arg-type]  # noqa: SLF001

    monkeypatch.setattr(Purge, "_result", unguarded)
    await fill(db)
    async with connected(database.url_owner) as owner, broken(owner, "rights revoked"):
        with pytest.raises(Exception, match="permission denied"):
            await purge_once(settings, db, IN_TURN)
    assert set((await counts(db, TABLES)).values()) == {2, 4}


async def test_the_limit_of_requests_is_none_of_the_purge(
    settings: Settings, db: Database, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "SILENCE", 0.0)
    await fill(db)
    async with connected(database.url_owner) as owner:
        await owner.execute(SLOW.format(table="login_attempts", seconds=0.3))
    hurried = settings.with_changes(request_deadline=0.1)
    assert hurried.database_url is not None
    other = Database(hurried, db._login)  # noqa: SLF001 - the same login, with another deadline
    try:
        await purge_once(hurried, other)
    finally:
        await other.close()
    assert await counts(db, ("login_attempts",)) == {"login_attempts": 1}


async def test_what_is_not_done_in_time_is_no_failure_and_goes_on_next_time(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one_by_one = [replace(expiry, batch=1) for expiry in EXPIRIES if expiry.table == "login_attempts"]
    monkeypatch.setattr(periodic, "PATIENCE", 0.0)
    await fill(db)
    before = results("login_attempts")
    await purge_once(settings, db, one_by_one)
    assert results("login_attempts")["unfinished"] == before["unfinished"] + 1
    assert said(caplog, "slipway.jobs") == [("WARNING", "more has expired than was deleted in time")]
    await purge_once(settings, db, one_by_one)
    assert results("login_attempts")["done"] == before["done"] + 1
    assert len(said(caplog, "slipway.jobs")) == 1
    assert await counts(db, ("login_attempts",)) == {"login_attempts": 1}
