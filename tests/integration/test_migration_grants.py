"""What the service's role may do after an upgrade, and what it may not."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from servers.databases import APP, OWNER, TestDatabase
from servers.migration_images import image, owner_settings, session, table, tables_of
from slipway.migrations import grants, runner
from slipway.migrations.errors import MigrationError
from slipway.migrations.grants import Grantable, grant_statements
from slipway.migrations.runner import upgrade

DDL = [
    "CREATE TABLE mine (id bigint)",
    "CREATE VIEW mine AS SELECT 1",
    "ALTER TABLE users ADD COLUMN extra text",
    "DROP TABLE items",
    "DROP TABLE slipway_ledger",
    "TRUNCATE items",
    "CREATE INDEX mine ON items (title)",
    "DROP INDEX items_search_idx",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "ALTER TABLE items DISABLE TRIGGER ALL",
    "COMMENT ON TABLE users IS 'mine'",
]
GATE_WRITES = [
    "INSERT INTO slipway_ledger (revision, kind) VALUES ('x', 'expand')",
    "UPDATE slipway_ledger SET kind = 'contract'",
    "DELETE FROM slipway_ledger",
    "INSERT INTO alembic_version VALUES ('x')",
    "UPDATE alembic_version SET version_num = 'x'",
    "DELETE FROM alembic_version",
]


async def test_the_service_can_neither_change_the_schema_nor_write_what_its_gate_reads(database: TestDatabase) -> None:
    async with session(database.url_app) as connection:
        for statement in (*DDL, *GATE_WRITES):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_owner_can(database: TestDatabase) -> None:
    """Negative control: the statements are refused for lack of rights, not for being wrong."""
    async with session(database.url_owner) as connection:
        for statement in DDL:
            if statement in ("CREATE SCHEMA mine", "ALTER TABLE items DISABLE TRIGGER ALL"):
                continue  # one needs the database's owner, the other a superuser
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statement)
            await transaction.rollback()


async def test_the_service_reads_and_writes_every_table_and_uses_the_queue(database: TestDatabase) -> None:
    async with session(database.url_app) as connection:
        for name in await tables_of(database):
            await connection.execute(f"SELECT * FROM {name} LIMIT 1")  # noqa: S608
            if name not in grants.APPEND_ONLY:
                await connection.execute(f"DELETE FROM {name} WHERE false")  # noqa: S608
        await connection.execute("INSERT INTO jobs (name, payload) VALUES ('x', '{}')")
        await connection.execute("UPDATE jobs SET attempts = 1; DELETE FROM jobs")
        assert await connection.fetchval("SELECT count(*) FROM slipway_ledger") > 0
        assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1


async def test_without_the_setting_nothing_is_granted(empty_database: TestDatabase, tmp_path: Path) -> None:
    """Negative control."""
    await upgrade(owner_settings(empty_database), versions=image(tmp_path, table("a")))
    async with session(empty_database.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT * FROM a")


async def _rights(database: TestDatabase) -> list[tuple[object, ...]]:
    async with session(database.url_owner) as connection:
        rows = await connection.fetch(
            "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL"
            " SELECT defaclobjtype::text, defaclacl::text FROM pg_default_acl ORDER BY 1"
        )
    return [tuple(row) for row in rows]


async def test_granting_twice_changes_nothing(empty_database: TestDatabase, tmp_path: Path) -> None:
    settings = owner_settings(empty_database, database_grant_to=APP)
    versions = image(tmp_path, table("a"))
    await upgrade(settings, versions=versions)
    before = await _rights(empty_database)
    await upgrade(settings, versions=versions)
    assert await _rights(empty_database) == before


class EndedError(Exception):
    """Stands for a runner that dies at that moment."""


async def _upgrade_that_ends_before_its_last_grant(
    database: TestDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = owner_settings(database, database_grant_to=APP)
    await upgrade(settings, versions=image(folder, table("a")))

    async def apply_then_stop(*arguments: object) -> None:
        await real(*arguments)  # type: ignore[arg-type]
        raise EndedError

    real = runner._apply  # noqa: SLF001
    monkeypatch.setattr(runner, "_apply", apply_then_stop)
    with pytest.raises(EndedError):
        await upgrade(settings, versions=image(folder, table("a"), table("b")))


async def test_a_new_table_is_the_services_to_use_from_the_moment_that_it_is_there(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _upgrade_that_ends_before_its_last_grant(empty_database, tmp_path, monkeypatch)
    async with session(empty_database.url_app) as connection:
        await connection.execute("INSERT INTO b VALUES (1)")


async def test_without_default_privileges_the_gate_would_open_on_a_table_that_can_not_be_read(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    def without_defaults(role: str, found: Grantable) -> tuple[str, ...]:
        return tuple(each for each in grant_statements(role, found) if "DEFAULT" not in each)

    monkeypatch.setattr(grants, "grant_statements", without_defaults)
    await _upgrade_that_ends_before_its_last_grant(empty_database, tmp_path, monkeypatch)
    async with session(empty_database.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO b VALUES (1)")


@pytest.mark.parametrize(
    ("role", "sentence"),
    [
        ("nobody_here", r"The role 'nobody_here' .* doesn't exist: make it with CREATE ROLE nobody_here"),
        (OWNER, "the service needs a role of its own"),
        ("postgres", "the service needs a role of its own"),
    ],
)
async def test_a_role_that_makes_no_sense_is_refused_before_anything_is_done(
    empty_database: TestDatabase, tmp_path: Path, role: str, sentence: str
) -> None:
    settings = owner_settings(empty_database, database_grant_to=role)
    with pytest.raises(MigrationError, match=sentence):
        await upgrade(settings, versions=image(tmp_path, table("a")))
    assert await tables_of(empty_database) == set()


async def test_tables_that_the_owner_does_not_own_are_left_alone(empty_database: TestDatabase, tmp_path: Path) -> None:
    async with session(empty_database.url_superuser) as superuser:
        await superuser.execute("CREATE TABLE of_an_extension (id bigserial)")
    settings = owner_settings(empty_database, database_grant_to=APP)
    await upgrade(settings, versions=image(tmp_path, table("a")))
    async with session(empty_database.url_app) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT * FROM of_an_extension")


async def test_a_role_that_may_create_tables_is_refused_with_the_remedy(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    settings = owner_settings(empty_database, database_grant_to=APP)
    versions = image(tmp_path, table("a"))
    async with session(empty_database.url_superuser) as superuser:
        await superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        with pytest.raises(MigrationError, match="REVOKE CREATE ON SCHEMA public FROM PUBLIC, slipway_app") as failure:
            await upgrade(settings, versions=versions)
        remedy = str(failure.value).partition("with ")[2].rstrip(".")
        await superuser.execute(remedy)
    assert (await upgrade(settings, versions=versions)).applied == ("a",)
