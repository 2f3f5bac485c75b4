"""A thousand writers and a PostgreSQL that is killed: each committed write has its row, and no row is without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from fastapi import Response
from sqlalchemy import text

from servers.databases import APP, TestDatabase, create_database, create_roles
from servers.migration_images import owner_settings, session, value
from servers.postgres import PostgresServer
from servers.waiting import until
from slipway.items.schemas import ItemContent
from slipway.items.service import ITEMS
from slipway.jobs.queue import JobQueue
from slipway.migrations.runner import upgrade
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.models import new_id
from slipway.storage.statements import Statement
from slipway.storage.unit import OneInsert, Transaction

WRITERS = 1000
OWNER = UUID(int=7)
NOTHING = Statement(text("SELECT 1"))
HULL, WITH_JOB = ItemContent(title="Hull"), ItemContent(title="With a job")


@pytest.fixture
async def mortal() -> AsyncIterator[TestDatabase]:
    """A database on a server of its own, with somebody who may own things."""
    server = PostgresServer()
    try:
        server.start()
        await create_roles(server)
        database = await create_database(server)
        await upgrade(owner_settings(database, database_grant_to=APP))
        async with session(database.url_owner) as connection:
            await connection.execute(
                "INSERT INTO users (id, email, password_hash) VALUES ($1, 'a@example.com', '-')", OWNER
            )
        yield database
    finally:
        server.remove()


class Writers:
    """Each makes item after item, until one fails or the end: in one statement, in several, or with a job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.ended = False
        self.acknowledged: list[UUID] = []
        self.tasks = [asyncio.create_task(self._write(number % 3)) for number in range(WRITERS)]

    async def _write(self, way: int) -> None:
        with suppress(Exception):
            while not self.ended:
                item = ITEMS.new(OWNER, WITH_JOB if way == 2 else HULL)

                async def work(transaction: Transaction, item: Any = item) -> None:
                    if way == 1:
                        await transaction.rows(NOTHING)
                    if way == 2:
                        await JobQueue().enqueue(transaction, "greet", {}, dedupe_key=str(item.id))
                    await ITEMS.add(transaction, None, item, Response())

                await self._database.unit(ITEMS.creation, work)
                self.acknowledged.append(item.id)

    async def end(self) -> None:
        self.ended = True
        await asyncio.gather(*self.tasks)


async def ids(database: TestDatabase) -> tuple[set[UUID], set[UUID]]:
    """Of the items, and of those in the audit log."""
    async with session(database.url_owner) as connection:
        items = {row[0] for row in await connection.fetch("SELECT id FROM items")}
        told = await connection.fetch("SELECT substr(resource, 7)::uuid FROM audit WHERE action = 'items.create'")
    assert len(told) == len({row[0] for row in told})
    return items, {row[0] for row in told}


async def alone(database: TestDatabase) -> int:
    """Items that want a job and have none, and jobs of items that aren't there."""
    return await value(  # type: ignore[no-any-return]
        database.url_owner,
        f"SELECT count(*) FROM (SELECT id::text FROM items WHERE title = '{WITH_JOB.title}') AS made"  # noqa: S608 - ours
        " FULL JOIN jobs ON dedupe_key = made.id WHERE made.id IS NULL OR dedupe_key IS NULL",
    )


@pytest.fixture
async def written(mortal: TestDatabase) -> AsyncIterator[Database]:
    database = Database(Settings(database_pool_timeout=60), mortal.app)
    yield database
    await database.close()


async def test_each_committed_write_has_its_row_and_no_row_is_without_its_write(
    mortal: TestDatabase, written: Database
) -> None:
    writers = Writers(written)
    await until(lambda: len(writers.acknowledged) > WRITERS, within=30)
    mortal.server.kill()
    mortal.server.start()
    await writers.end()
    items, told = await ids(mortal)
    assert items == told
    assert items >= set(writers.acknowledged)
    assert len(items) > WRITERS
    assert await alone(mortal) == 0


async def test_a_row_that_is_written_after_its_write_would_be_missing(
    mortal: TestDatabase, written: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the two apart, and the kill between them."""
    apart, killed = asyncio.Event(), asyncio.Event()
    conclude = Transaction.conclude

    async def torn(transaction: Transaction, whole: OneInsert, **values: Any) -> Any:
        await transaction._connection.execute(  # noqa: SLF001 - behind its back
            "INSERT INTO items (id, owner_id, title) VALUES ($1, $2, 'Hull')", values["id"], OWNER
        )
        apart.set()
        await killed.wait()
        return await conclude(transaction, whole, **{**values, "id": new_id()})

    monkeypatch.setattr(Transaction, "conclude", torn)
    writers = Writers(written)
    await apart.wait()
    mortal.server.kill()
    mortal.server.start()
    killed.set()
    await writers.end()
    items, told = await ids(mortal)
    assert items > told
