"""The service adds to the audit log and changes nothing in it; what is old is deleted by the owner's function."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from servers.databases import APP, TestDatabase, superuser_sql
from servers.migration_images import image, owner_settings, session, table, value
from slipway.migrations import grants
from slipway.migrations.runner import upgrade

PURGE = "SELECT purge_audit({}, {})"
DAYS = (1, 29, 31, 40, 400)
"""Ages of the rows; the function leaves alone what is younger than 30 days, whatever it is asked."""
CHANGES = [
    "UPDATE audit SET actor = NULL",
    "DELETE FROM audit",
    "TRUNCATE audit",
    "INSERT INTO audit (attempt, kind) SELECT attempt, kind FROM audit"
    " ON CONFLICT (attempt) DO UPDATE SET actor = NULL",
    "MERGE INTO audit USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM audit RETURNING 1) SELECT count(*) FROM gone",
]
REFUSED = [
    *CHANGES,
    "SELECT FROM audit FOR UPDATE",
    "ALTER TABLE audit DISABLE TRIGGER keep",
    "DROP TRIGGER keep ON audit",
    "ALTER FUNCTION purge_audit SET search_path = mine",
    "CREATE OR REPLACE FUNCTION purge_audit(older_than interval, batch integer) RETURNS bigint"
    " LANGUAGE sql AS 'SELECT 1'",
]


@pytest.fixture
async def filled(database: TestDatabase) -> TestDatabase:
    rows = ", ".join(f"('{UUID(int=days)}', 'work', now() - interval '{days} days')" for days in DAYS)
    add = f"INSERT INTO audit (attempt, kind, at) VALUES {rows}"  # noqa: S608 - ours
    await superuser_sql(database.server, add, database=database.name)
    return database


async def left(database: TestDatabase) -> list[int]:
    async with session(database.url_app) as connection:
        return [row[0].int for row in await connection.fetch("SELECT attempt FROM audit ORDER BY attempt")]


@pytest.mark.parametrize("change", REFUSED)
async def test_the_service_can_change_nothing_of_it(filled: TestDatabase, change: str) -> None:
    async with session(filled.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
    assert await left(filled) == list(DAYS)


@pytest.fixture
async def granted(filled: TestDatabase) -> TestDatabase:
    """Worse than any upgrade leaves it."""
    async with session(filled.url_owner) as connection:
        await connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {APP}")
    return filled


@pytest.mark.parametrize("change", CHANGES)
async def test_nor_can_it_with_all_rights_on_the_table(granted: TestDatabase, change: str) -> None:
    async with session(granted.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="stay as they are"):
            await connection.execute(change)
        assert await connection.fetchval(PURGE.format("interval '35 days'", 1000)) == 2
    assert await left(granted) == [1, 29, 31]


@pytest.mark.parametrize("change", CHANGES)
async def test_without_the_trigger_those_rights_would_be_enough(granted: TestDatabase, change: str) -> None:
    """Negative control."""
    async with session(granted.url_owner) as connection:
        await connection.execute("DROP TRIGGER keep ON audit")
    async with session(granted.url_app) as connection:
        await connection.execute(change)


async def test_an_upgrade_by_a_release_that_knows_no_audit_log_gives_the_rights_back_in_vain(
    filled: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "APPEND_ONLY", ())
    await upgrade(owner_settings(filled, database_grant_to=APP))
    assert await value(filled.url_app, "SELECT has_table_privilege('audit', 'UPDATE, DELETE')")
    async with session(filled.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="stay as they are"):
            await connection.execute("DELETE FROM audit")
    assert await left(filled) == list(DAYS)


@pytest.mark.parametrize(
    "trick",
    [
        f"CREATE TEMP TABLE pg_class AS SELECT oid, '{APP}'::regrole::oid AS relowner FROM pg_catalog.pg_class;"  # noqa: S608
        " SET search_path = pg_temp, pg_catalog, public",
        f"RESET ROLE; SET session_replication_role = replica; SET ROLE {APP}",
    ],
    ids=["a catalog of its own", "as a replica"],
)
async def test_nor_does_it_get_past_the_trigger_by_what_a_session_may_set(granted: TestDatabase, trick: str) -> None:
    async with session(granted.url_superuser) as connection:
        await connection.execute(f"SET ROLE {APP}")
        await connection.execute(trick)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="stay as they are"):
            await connection.execute("DELETE FROM public.audit")
    assert await left(granted) == list(DAYS)


async def test_it_can_add_to_it_and_read_it(database: TestDatabase) -> None:
    """Negative control: it is not refused everything."""
    async with session(database.url_app) as connection:
        await connection.execute("INSERT INTO audit (attempt, kind) VALUES (gen_random_uuid(), 'work')")
        assert await connection.fetchval("SELECT count(*) FROM audit") == 1


@pytest.mark.parametrize(
    ("older_than", "remaining"),
    [
        ("interval '35 days'", [1, 29, 31]),
        ("interval '0'", [1, 29]),
        ("interval '-1 year'", [1, 29]),
        ("NULL", [1, 29]),
        ("interval '10 years'", list(DAYS)),
    ],
)
async def test_the_owners_function_deletes_what_is_older_than_asked_and_never_what_is_younger_than_its_floor(
    filled: TestDatabase, older_than: str, remaining: list[int]
) -> None:
    deleted = await value(filled.url_app, PURGE.format(older_than, 1000))
    assert await left(filled) == remaining
    assert deleted == len(DAYS) - len(remaining)


async def test_it_deletes_no_more_than_a_batch_the_oldest_first(filled: TestDatabase) -> None:
    assert await value(filled.url_app, PURGE.format("interval '0'", 2)) == 2
    assert await left(filled) == [1, 29, 31]


async def test_it_deletes_from_no_table_of_its_callers(filled: TestDatabase) -> None:
    async with session(filled.url_app) as connection:
        await connection.execute("CREATE TEMP TABLE audit AS SELECT * FROM public.audit")
        await connection.fetchval(PURGE.format("interval '0'", 1000))
        assert await connection.fetchval("SELECT count(*) FROM pg_temp.audit") == len(DAYS)
    assert await left(filled) == [1, 29]


async def test_others_may_not_call_it(filled: TestDatabase) -> None:
    stranger = "stranger_to_audit"
    try:
        async with session(filled.url_superuser) as connection:
            await connection.execute(f"CREATE ROLE {stranger}; SET ROLE {stranger}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(PURGE.format("interval '0'", 1000))
    finally:
        await superuser_sql(filled.server, f"DROP ROLE {stranger}")


async def test_from_the_moment_that_the_table_is_there_nobody_can_change_it(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    """Default privileges, which an earlier upgrade gave, come with a new table; the revision takes them back."""
    await upgrade(owner_settings(empty_database, database_grant_to=APP), versions=image(tmp_path, table("a")))
    async with session(empty_database.url_owner) as connection:
        await connection.execute("DROP TABLE a, alembic_version, slipway_ledger")
    await upgrade(owner_settings(empty_database))
    async with session(empty_database.url_app) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM audit")
        await connection.execute("DELETE FROM items")
