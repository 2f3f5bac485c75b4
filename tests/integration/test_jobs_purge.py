from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import text

from servers.databases import TestDatabase
from servers.jobs import rows, working
from servers.migration_images import session as connected
from servers.staging import staged
from servers.waiting import until
from slipway.exports.job import CHUNK_BYTES
from slipway.jobs.expiries import Below, Expiry
from slipway.jobs.kinds import Job
from slipway.jobs.periodic import JOB, Purge
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.telemetry.registry import REGISTRY
from slipway.users import keys
from slipway.worker import EXPIRIES, job_kinds

TABLES = (
    "exports",
    "sessions",
    "refresh_tokens",
    "password_resets",
    "email_changes",
    "idempotency_keys",
    "login_attempts",
    "audit",
)

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
INSERT INTO email_changes (user_id, email, email_before, expires_at) SELECT id, '{n}@example.org', email, {expiry}
    FROM users WHERE email = '{n}@example.com';
INSERT INTO idempotency_keys (key_hash, user_id, fingerprint, expires_at) SELECT 'k{n}', id, 'f', {expiry} FROM users
    WHERE email = '{n}@example.com';
INSERT INTO login_attempts VALUES ('a{n}', 1, {expiry}, {expiry});
INSERT INTO audit (attempt, kind, at) VALUES (gen_random_uuid(), 'work', {expiry} - interval '400 days');
"""


async def fill(db: Database) -> None:
    for n, expiry in ((1, "now() - interval '2 days'"), (2, "now() + interval '2 days'")):
        async with staged(db) as session:
            for statement in ROWS.format(n=n, expiry=expiry).split(";\n"):
                if statement.strip():
                    await session.execute(text(statement))


async def counts(db: Database, tables: tuple[str, ...] = (*TABLES, "export_chunks", "users")) -> dict[str, int]:
    found = {}
    for table in tables:
        # What purge and workers themselves leave in the audit log names an action.
        ours = " WHERE action IS NULL" if table == "audit" else ""
        statement = text(f"SELECT count(*) FROM {table}{ours}")  # noqa: S608 - names from this file
        found[table] = await db.read(lambda session, asked=statement: session.scalar(asked))  # type: ignore[misc]
    return found


async def purge_once(settings: Settings, db: Database, expiries: Sequence[Expiry] = EXPIRIES) -> None:
    """One run, without a worker that would start another."""
    await Purge(settings, db, expiries).run(Job(1, JOB, {}, {}, 1, uuid4(), datetime.now(UTC)))


def _with_batches_of(rows: int) -> list[Expiry]:
    def below(expiry: Expiry) -> Below | None:
        return None if expiry.below is None else replace(expiry.below, batch=rows)

    return [replace(expiry, batch=rows, below=below(expiry)) for expiry in EXPIRIES]


def counted() -> dict[str, float]:
    """By table, the rows that were deleted so far, as the metric says."""
    tables = (*TABLES, "export_chunks")
    return {table: REGISTRY.get_sample_value("slipway_purged_rows_total", {"table": table}) or 0 for table in tables}


async def test_what_has_expired_is_deleted_and_nothing_else(settings: Settings, db: Database) -> None:
    await fill(db)
    before = counted()
    await purge_once(settings, db)
    left = await counts(db)
    assert left == {**dict.fromkeys(TABLES, 1), "export_chunks": 1, "users": 2}
    deleted = {table: number - before[table] for table, number in counted().items()}
    assert deleted == {**dict.fromkeys(TABLES, 1), "export_chunks": 1, "refresh_tokens": 3}
    remaining = await db.read(lambda session: session.scalar(text("SELECT token_hash FROM refresh_tokens")))
    assert bytes(remaining) == b"live2"


async def test_a_session_past_its_longest_lifetime_is_deleted_however_much_it_was_used(
    settings: Settings, db: Database
) -> None:
    await fill(db)
    async with staged(db) as session:
        await session.execute(text("UPDATE sessions SET expires_at = now() + interval '9 days', last_used_at = now()"))
        await session.execute(text("UPDATE refresh_tokens SET used_at = now() WHERE token_hash = 'used1'"))
        old = "created_at = now() - interval '90 days 1 second' WHERE id = (SELECT session_id FROM refresh_tokens"
        await session.execute(text(f"UPDATE sessions SET {old} WHERE token_hash = 'used1')"))  # noqa: S608 - ours
    await purge_once(settings, db)
    assert await counts(db, ("sessions", "refresh_tokens")) == {"sessions": 1, "refresh_tokens": 1}


async def test_more_than_a_batch_is_deleted_in_one_run_in_several(settings: Settings, db: Database) -> None:
    await fill(db)
    async with staged(db) as session:
        old = "INSERT INTO login_attempts SELECT n::text::bytea, 1, 'epoch', 'epoch' FROM generate_series(1, 10) n"
        await session.execute(text(old))
        many = "SELECT n::text::bytea, id, now() FROM sessions, generate_series(1, 10) n WHERE expires_at < now()"
        await session.execute(text(f"INSERT INTO refresh_tokens (token_hash, session_id, used_at) {many}"))
    await purge_once(settings, db, _with_batches_of(3))
    assert await counts(db, ("login_attempts", "refresh_tokens")) == {"login_attempts": 1, "refresh_tokens": 1}


COUNTED = """
CREATE TABLE deletes AS SELECT pg_current_xact_id() AS xid WHERE false;
CREATE FUNCTION count_delete() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN INSERT INTO deletes SELECT pg_current_xact_id(); RETURN NULL; END $$;
CREATE TRIGGER counted AFTER DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION count_delete();
CREATE TRIGGER counted AFTER DELETE ON export_chunks FOR EACH ROW EXECUTE FUNCTION count_delete();
"""
MANY_BELOW = (
    "INSERT INTO refresh_tokens (token_hash, session_id) SELECT n::text::bytea, id"
    " FROM sessions, generate_series(1, 9) n WHERE expires_at < now()",
    "INSERT INTO export_chunks SELECT id, n, 'x' FROM exports, generate_series(1, 9) n WHERE expires_at < now()",
)


async def test_no_transaction_deletes_more_than_a_batch_not_even_by_foreign_key(
    settings: Settings, db: Database, database: TestDatabase
) -> None:
    await fill(db)
    async with staged(db) as session:
        for statement in MANY_BELOW:
            await session.execute(text(statement))
    async with connected(database.url_owner) as owner:
        await owner.execute(COUNTED)
        await purge_once(settings, db, _with_batches_of(2))
        deletes = [row[0] for row in await owner.fetch("SELECT count(*) FROM deletes GROUP BY xid")]
    assert (sum(deletes), max(deletes)) == (12 + 10, 2)


async def test_nothing_is_deleted_before_its_time(settings: Settings, db: Database) -> None:
    """Of each lifetime that a setting names: a row just within it, and one just past it."""
    await fill(db)
    async with staged(db) as session:
        for statement in (
            "DELETE FROM login_attempts",
            "INSERT INTO login_attempts SELECT n::text::bytea, 1, 'epoch', now() - interval '1 hour' * n"
            " FROM generate_series(23, 25) n WHERE n <> 24",
            "UPDATE refresh_tokens SET used_at = now() - interval '30 days' + interval '1 minute' WHERE"
            " token_hash = 'used2'",
            "INSERT INTO refresh_tokens (token_hash, session_id, used_at) SELECT 'older', id,"
            " now() - interval '30 days' - interval '1 minute' FROM sessions WHERE expires_at > now()",
            "UPDATE sessions SET created_at = now() - interval '90 days' + interval '1 minute'",
        ):
            await session.execute(text(statement))
    await purge_once(settings, db)
    left = await counts(db, ("login_attempts", "refresh_tokens", "sessions"))
    assert left == {"login_attempts": 1, "refresh_tokens": 2, "sessions": 1}


def test_no_transaction_is_large() -> None:
    assert max(expiry.batch for expiry in EXPIRIES) <= 1000
    below = {expiry.below for expiry in EXPIRIES if expiry.below}
    sizes = {one.table: one.batch * (CHUNK_BYTES if one.table == "export_chunks" else 1) for one in below}
    assert sizes == {"export_chunks": 100 * 256 * 1024, "refresh_tokens": 1000}


async def test_rows_that_others_hold_are_left_for_the_next_time(settings: Settings, db: Database) -> None:
    await fill(db)
    async with staged(db) as busy:
        await busy.execute(text("SELECT FROM password_resets FOR UPDATE"))
        await purge_once(settings, db)
        assert await counts(db, ("password_resets", "login_attempts")) == {"password_resets": 2, "login_attempts": 1}
    await purge_once(settings, db)
    assert await counts(db, ("password_resets",)) == {"password_resets": 1}


async def test_every_worker_of_this_release_purges_and_gives_addresses_their_keys(
    settings: Settings, db: Database
) -> None:
    await fill(db)
    often = settings.with_changes(purge_interval=1)
    async with working(often, db, job_kinds(often, db)):
        await until(lambda: _purged(db))
        assert {row.name for row in await rows(db)} == {JOB, keys.JOB}


async def _purged(db: Database) -> bool:
    return await counts(db, TABLES) == dict.fromkeys(TABLES, 1)
