"""Asked of PostgreSQL at each commit: a transaction that changed a row of any table added one to the audit log."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from integration.conftest import PASSWORD, Person
from integration.domains.kept import KEPT
from integration.form import enter
from integration.mailing import ask, confirm, post_office
from integration.test_jobs_purge import fill, purge_once
from servers.databases import APP, TestDatabase
from servers.jobs import QUICK, enqueue, working
from servers.migration_images import session
from servers.staging import staged
from servers.waiting import until
from slipway.jobs import queries
from slipway.jobs.kinds import Job, JobError, Kind
from slipway.resources import Resources
from slipway.storage.engine import Database

UNWRITTEN = {"audit", "alembic_version", "slipway_ledger"}
"""The log itself, and what only the owner writes."""

ASK = f"""
CREATE TABLE written (name text);
GRANT INSERT ON written TO {APP};
CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM audit WHERE xmin = pg_current_xact_id()::xid) THEN
            RAISE EXCEPTION 'untold: % of %', TG_OP, TG_TABLE_NAME;
        END IF;
        INSERT INTO written VALUES (TG_TABLE_NAME);
        RETURN NULL;
    END
$$;
"""  # noqa: S608 - ours
ASK_OF = (
    "CREATE CONSTRAINT TRIGGER ask AFTER INSERT OR UPDATE OR DELETE ON {} DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION ask()"
)


async def asking(database: TestDatabase) -> set[str]:
    """From here on each commit is asked; the tables."""
    async with session(database.url_owner) as owner:
        names = {row[0] for row in await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        await owner.execute(ASK)
        for name in names - UNWRITTEN:
            await owner.execute(ASK_OF.format(name))
    return names - UNWRITTEN


async def use_the_api(user: Person, admin: Person, anonymous: httpx.AsyncClient, resources: Resources) -> None:
    """What people do, all of which must be done."""
    said: list[httpx.Response] = []
    for kept in KEPT:
        key = {"Idempotency-Key": f"a-key-for-{kept.table}"}
        said += [await user.client.post(kept.at, json=kept.body, headers=each) for each in ({}, key, key)]
        path = said[-1].headers["location"]
        said.append(await user.client.patch(path, json=kept.saying("Keel")))
        said.append(await user.client.delete(path))
    said.append(await user.client.post("/api/v1/exports", json={"format": "csv"}))
    new = {"email": "new@example.com", "password": PASSWORD}
    said.append(await admin.client.post("/api/v1/users", json=new))
    other = said[-1].headers["location"]
    said.append(await admin.client.put(f"{other}/permissions", json={"permissions": []}))
    said.append(await admin.client.patch(other, json={"is_active": False}))
    said.append(await admin.client.delete(other))
    tokens = (await enter(anonymous, user.email)).json()
    said.append(await anonymous.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
    said.append(await anonymous.post("/api/v1/auth/password-reset", json={"email": user.email}))
    async with post_office(resources) as post:
        said.append(await ask(user, "next@example.com"))
        token = next(mail.token for mail in await post.sent() if mail.to == "next@example.com")
    said.append(await confirm(anonymous, token))
    said.append(await user.client.post("/api/v1/auth/logout"))
    assert [reply.status_code for reply in said if not reply.is_success] == []
    assert (await enter(anonymous, user.email, "wrong")).status_code == 401


WRITES_OF_THE_QUEUE = {"add", "take", "prolong", "finish", "put_off", "bury", "give_back", "revive", "drop"}


async def use_the_queue(resources: Resources) -> None:
    """What workers do with jobs that are done, fail, last, and are given back; and people with dead letters."""
    settings = resources.settings.with_changes(job_backoff=0.02, job_max_attempts=2, shutdown_timeout=0.01)
    db = resources.database

    async def fail(_: Job) -> None:
        raise JobError("No.")

    async def last(_: Job) -> None:
        await asyncio.Event().wait()

    kinds = {"fail": Kind(fail), "last": Kind(last), "tick": Kind(last, every=3600)}
    for name in ("fail", "last"):
        await enqueue(db, name)
    async with working(settings, db, kinds, QUICK):
        await until(lambda: _told(db, "bury", "prolong"))
    [dead] = await queries.write(db, "revive", lambda tx: queries.revive(tx, None))
    assert await queries.write(db, "drop", lambda tx: queries.drop(tx, dead), job_id=dead)
    assert await _told(db, *WRITES_OF_THE_QUEUE)


async def _told(db: Database, *verbs: str) -> bool:
    told = text("SELECT DISTINCT split_part(action, '.', 2) FROM audit WHERE action LIKE 'jobs.%'")
    found = set(await db.read(lambda session: session.scalars(told)))
    assert found <= WRITES_OF_THE_QUEUE
    return found >= set(verbs)


async def test_whatever_people_workers_and_purge_write_is_told_in_the_same_transaction(
    user: Person, admin: Person, anonymous: httpx.AsyncClient, resources: Resources, database: TestDatabase
) -> None:
    await fill(resources.database)
    tables = await asking(database)
    await use_the_api(user, admin, anonymous, resources)
    await use_the_queue(resources)
    await purge_once(resources.settings, resources.database)
    async with session(database.url_owner) as owner:
        written = {row[0] for row in await owner.fetch("SELECT name FROM written")}
    assert written == tables, "of each table there was a write: a new one that no owner keeps needs one above"


async def test_a_write_that_is_told_by_nobody_would_be_refused(resources: Resources, database: TestDatabase) -> None:
    """Negative control."""
    await asking(database)
    with pytest.raises(DBAPIError, match="untold: INSERT of jobs"):
        async with staged(resources.database) as other:
            await other.execute(text("INSERT INTO jobs (name, payload) VALUES ('greet', '{}')"))
