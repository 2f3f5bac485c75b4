from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from servers.jobs import rows, working
from servers.waiting import until
from slipway.jobs import periodic
from slipway.jobs.kinds import Kind
from slipway.jobs.periodic import EXPIRIES, JOB, Purge
from slipway.jobs.registry import job_kinds
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.users import keys

TABLES = ("exports", "sessions", "refresh_tokens", "password_resets", "idempotency_keys", "login_attempts")

# One row of each table that has expired, and one that hasn't; {n} makes them different.
ROWS = """
INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), '{n}@example.com', '-');
INSERT INTO exports (id, owner_id, format, expires_at) SELECT gen_random_uuid(), id, 'csv', {expiry} FROM users
    WHERE email = '{n}@example.com';
INSERT INTO export_chunks SELECT id, 0, 'x' FROM exports ON CONFLICT DO NOTHING;
INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), id, {expiry} FROM users
    WHERE email = '{n}@example.com';
INSERT INTO refresh_tokens (token_hash, session_id) SELECT 'live{n}', id FROM sessions WHERE expires_at = {expiry};
INSERT INTO refresh_tokens (token_hash, session_id, used_at)
    SELECT 'used{n}', id, now() - interval '40 days' FROM sessions WHERE expires_at = {expiry};
INSERT INTO password_resets (token_hash, user_id, expires_at) SELECT 'r{n}', id, {expiry} FROM users
    WHERE email = '{n}@example.com';
INSERT INTO idempotency_keys (key_hash, user_id, fingerprint, expires_at) SELECT 'k{n}', id, 'f', {expiry} FROM users
    WHERE email = '{n}@example.com';
INSERT INTO login_attempts VALUES ('a{n}', 1, {expiry}, {expiry});
"""


async def fill(db: Database) -> None:
    for n, expiry in ((1, "now() - interval '2 days'"), (2, "now() + interval '2 days'")):
        async with db.transaction() as session:
            for statement in ROWS.format(n=n, expiry=expiry).split(";\n"):
                if statement.strip():
                    await session.execute(text(statement))


async def counts(db: Database, tables: tuple[str, ...] = (*TABLES, "export_chunks", "users")) -> dict[str, int]:
    found = {}
    for table in tables:
        statement = text(f"SELECT count(*) FROM {table}")  # noqa: S608 - names from this file
        found[table] = await db.read(lambda session, asked=statement: session.scalar(asked))  # type: ignore[misc]
    return found


async def purged(db: Database) -> bool:
    return all(count == 1 for count in (await counts(db, TABLES)).values())


async def test_what_has_expired_is_deleted_and_nothing_else(settings: Settings, db: Database) -> None:
    await fill(db)
    kinds = {JOB: Kind(Purge(settings, db).run, every=0.05)}
    async with working(settings, db, kinds):
        await until(lambda: purged(db))
    left = await counts(db)
    assert left == {**dict.fromkeys(TABLES, 1), "export_chunks": 1, "users": 2}
    remaining = await db.read(lambda session: session.scalar(text("SELECT token_hash FROM refresh_tokens")))
    assert bytes(remaining) == b"live2"


async def test_more_than_a_batch_is_deleted_in_several(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic, "EXPIRIES", tuple(replace(expiry, batch=3) for expiry in EXPIRIES))
    async with db.transaction() as session:
        old = "INSERT INTO login_attempts SELECT n::text::bytea, 1, 'epoch', 'epoch' FROM generate_series(1, 10) n"
        await session.execute(text(old))
    async with working(settings, db, {JOB: Kind(Purge(settings, db).run, every=0.05)}):
        await until(lambda: _none_left(db))


async def _none_left(db: Database) -> bool:
    return (await counts(db, ("login_attempts",))) == {"login_attempts": 0}


async def test_rows_that_others_hold_are_left_for_the_next_time(settings: Settings, db: Database) -> None:
    await fill(db)
    async with db.transaction() as busy:
        await busy.execute(text("SELECT FROM password_resets FOR UPDATE"))
        async with working(settings, db, {JOB: Kind(Purge(settings, db).run, every=0.05)}):
            await until(lambda: _attempts_left(db, 1))
            assert (await counts(db, ("password_resets",))) == {"password_resets": 2}


async def _attempts_left(db: Database, count: int) -> bool:
    return (await counts(db, ("login_attempts",))) == {"login_attempts": count}


async def test_every_worker_of_this_release_purges_and_gives_addresses_their_keys(
    settings: Settings, db: Database
) -> None:
    async with working(settings, db, job_kinds(settings, db)):
        await until(lambda: _scheduled(db))


async def _scheduled(db: Database) -> bool:
    return {row.name for row in await rows(db)} == {JOB, keys.JOB}
