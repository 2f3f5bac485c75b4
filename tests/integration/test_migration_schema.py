"""The schema that the service's own revisions make."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT

import asyncpg
import pytest

from servers.databases import TestDatabase
from servers.migration_images import owner_settings, session, tables_of, value
from servers.postgres import BIN
from slipway.migrations.inspection import as_document, plan
from slipway.storage.models import Base, new_id

USER = "INSERT INTO users (id, email, password_hash, display_name) VALUES ($1, $2, 'x', $3)"


async def test_the_tables_survive_a_crash_of_the_server(database: TestDatabase) -> None:
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relpersistence <> 'p'"
    assert await value(database.url_owner, query) == 0


async def test_models_and_schema_have_the_same_columns_and_agree_which_may_be_null(database: TestDatabase) -> None:
    async with session(database.url_owner) as connection:
        rows = await connection.fetch(
            "SELECT table_name, column_name, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = ANY($1)",
            list(Base.metadata.tables),
        )
    modelled = {
        (table.name, column.name, bool(column.nullable))
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.computed is None
    }
    real = {tuple(row) for row in rows}
    assert modelled - real == set()
    assert {row[:2] for row in real - modelled} <= {("items", "search")}


async def test_times_carry_their_zone(database: TestDatabase) -> None:
    query = (
        "SELECT count(*) FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'"
    )
    assert await value(database.url_owner, query) == 0


async def test_an_e_mail_is_unique_regardless_of_case(database: TestDatabase) -> None:
    async with session(database.url_app) as connection:
        await connection.execute(USER, new_id(), "Ada@example.com", "")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(USER, new_id(), "ada@EXAMPLE.com", "")


@pytest.mark.parametrize(
    ("title", "body"), [("", ""), ("x" * 201, ""), ("x", "x" * 10_001)], ids=["no title", "long title", "long body"]
)
async def test_the_schema_holds_the_limits_of_an_item(database: TestDatabase, title: str, body: str) -> None:
    async with session(database.url_app) as connection:
        owner = new_id()
        await connection.execute(USER, owner, "a@example.com", "")
        insert = "INSERT INTO items (id, owner_id, title, body) VALUES ($1, $2, $3, $4)"
        await connection.execute(insert, new_id(), owner, "x" * 200, "x" * 10_000)
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(insert, new_id(), owner, title, body)


@pytest.mark.parametrize(
    ("email", "name"), [("x" * 255, ""), ("a@example.com", "x" * 201)], ids=["long e-mail", "long name"]
)
async def test_the_schema_holds_the_limits_of_a_user(database: TestDatabase, email: str, name: str) -> None:
    async with session(database.url_app) as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(USER, new_id(), email, name)


async def test_the_planned_sql_run_by_hand_makes_the_same_tables(
    database: TestDatabase, empty_database: TestDatabase
) -> None:
    document = as_document(await plan(owner_settings(empty_database)))
    # As people do: statement by statement, because an index can't be built concurrently within a transaction.
    command = [BIN / "psql", "--set=ON_ERROR_STOP=1", "--quiet", empty_database.url_owner]
    psql = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    said, _ = await psql.communicate(document["sql"].encode())
    assert psql.returncode == 0, said.decode()
    assert await tables_of(empty_database) == await tables_of(database)
