"""The connection pool against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from servers.databases import TestDatabase, superuser_sql
from servers.silence import SilentProxy, silent_proxy
from servers.waiting import until
from slipway.context.deadline import set_deadline
from slipway.edge.faults import as_problem
from slipway.jobs.models import JobRow
from slipway.resources import Resources
from slipway.settings import Settings
from slipway.storage import engine
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.login import Encryption
from slipway.storage.statements import Row, Statement, one
from slipway.storage.unit import Transaction

TRY = Action("tests", "try")
ONE = Statement(text("SELECT 1"))


def _asked(statement: Statement) -> Callable[[Transaction], Awaitable[Row]]:
    """A work that leaves nothing: the databases here are empty, and have no audit log."""

    async def work(transaction: Transaction) -> Row:
        row = one(await transaction.row(statement))
        transaction.leave_nothing()
        return row

    return work


async def test_a_unit_of_work_reaches_the_database(empty_database: TestDatabase) -> None:
    database = Database(Settings(), empty_database.owner)
    row = await database.unit(TRY, _asked(Statement(text("SELECT current_user AS role"))))
    assert row.role == "slipway_owner"
    await database.close()


async def _open_connections(database: TestDatabase) -> int:
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'slipway'", database.name
        )
        return count
    finally:
        await connection.close()


async def _use_at_once(database: Database, number: int) -> None:
    together = asyncio.Barrier(number)

    async def use(transaction: Transaction) -> None:
        await _asked(ONE)(transaction)
        await together.wait()

    await asyncio.gather(*(database.unit(TRY, use) for _ in range(number)))


async def test_overflow_connections_are_kept_for_the_next_burst_and_closed_once_idle(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.storage.connections.IDLE_OVERFLOW", 1.0)
    settings = Settings(database_pool_size=2, database_max_overflow=4)
    database = Database(settings, empty_database.owner)
    try:
        await _use_at_once(database, 6)
        assert database.connections.idle == 6
        assert await _open_connections(empty_database) == 6

        async def trimmed() -> bool:
            return await _open_connections(empty_database) == 2

        await until(trimmed)
        assert database.connections.idle == 2
        await _use_at_once(database, 6)
    finally:
        await database.close()


async def test_more_than_pool_and_overflow_are_never_open(empty_database: TestDatabase) -> None:
    settings = Settings(database_pool_size=1, database_max_overflow=1, database_pool_timeout=0.2)
    database = Database(settings, empty_database.owner)
    try:
        with pytest.raises(SqlTimeoutError):
            await _use_at_once(database, 3)
    finally:
        await database.close()


async def test_a_row_is_fetched_and_a_lost_connection_is_replaced_once(empty_database: TestDatabase) -> None:
    database = Database(Settings(), empty_database.owner)
    try:
        row = await database.fetch_row("SELECT pg_backend_pid() AS pid, $1::text AS word", "hull")
        assert row is not None
        assert row["word"] == "hull"
        await superuser_sql(empty_database.server, f"SELECT pg_terminate_backend({row['pid']})")
        again = await database.fetch_row("SELECT pg_backend_pid() AS pid")
        assert again is not None
        assert again["pid"] != row["pid"]
        assert database.connections.idle == 1
    finally:
        await database.close()


async def test_a_cancelled_fetch_gives_its_connection_to_nobody_else(empty_database: TestDatabase) -> None:
    database = Database(Settings(database_pool_size=1, database_max_overflow=0), empty_database.owner)
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.fetch_row("SELECT pg_sleep(30)"), 0.2)
        assert await database.fetch_row("SELECT 1 AS one") is not None
    finally:
        await database.close()


@asynccontextmanager
async def _behind_a_proxy(database: TestDatabase, deadline: float) -> AsyncIterator[tuple[Database, SilentProxy]]:
    settings = Settings(
        database_pool_size=2, database_max_overflow=0, database_pool_timeout=2, request_deadline=deadline
    )
    async with silent_proxy(database.owner.port) as proxy:
        opened = Database(settings, replace(database.owner, port=proxy.port))
        try:
            yield opened, proxy
        finally:
            await opened.close()


async def _read_one(database: Database) -> object:
    async def one(session: AsyncSession) -> object:
        return (await session.execute(text("SELECT 1"))).scalar_one()

    return await database.read(one)


async def _fetch_one(database: Database) -> object:
    row = await database.fetch_row("SELECT 1 AS one")
    assert row is not None
    return row["one"]


@pytest.mark.parametrize("ask", [_read_one, _fetch_one])
async def test_connections_that_fall_silent_cost_one_deadline_and_never_the_pool(
    empty_database: TestDatabase, ask: Callable[[Database], Awaitable[object]]
) -> None:
    async with _behind_a_proxy(empty_database, deadline=0.5) as (database, proxy):
        await _use_at_once(database, 2)
        proxy.silence()
        lost = await asyncio.gather(ask(database), ask(database), return_exceptions=True)
        assert [type(error) for error in lost] == [TimeoutError, TimeoutError]
        problems = [as_problem(error) for error in lost if isinstance(error, BaseException)]
        assert [problem.status for problem in problems if problem] == [503, 503]
        async with asyncio.timeout(2):
            assert await asyncio.gather(ask(database), ask(database)) == [1, 1]


@pytest.mark.parametrize("ask", [_read_one, _fetch_one])
async def test_without_a_limit_silent_connections_would_keep_the_pool(
    empty_database: TestDatabase, ask: Callable[[Database], Awaitable[object]]
) -> None:
    async with _behind_a_proxy(empty_database, deadline=60) as (database, proxy):
        await _use_at_once(database, 2)
        proxy.silence()
        waiting = [asyncio.create_task(ask(database)) for _ in range(2)]
        await until(lambda: database.connections.idle == 0)
        with pytest.raises(SqlTimeoutError):
            await ask(database)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_kernel_is_told_to_drop_a_silent_peer(empty_database: TestDatabase) -> None:
    database = Database(Settings(request_deadline=7), empty_database.owner)
    try:
        raw = await database.connections.engine.raw_connection()
        link = cast("Any", raw.driver_connection)._transport.get_extra_info("socket")  # noqa: SLF001 - what is tested
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
        asked = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        assert [link.getsockopt(socket.IPPROTO_TCP, option) for option in asked] == [10, 5, 3]
        raw.close()
    finally:
        await database.close()


async def _statement_timeout(database: Database, within: float) -> str:
    """What the server keeps to in a transaction of a request that has so many seconds left."""
    set_deadline(monotonic() + within)
    row = await database.unit(TRY, _asked(Statement(text("SELECT current_setting('statement_timeout') AS limit"))))
    return str(row.limit)


async def test_the_server_ends_what_outlasts_a_request_by_itself(empty_database: TestDatabase) -> None:
    database = Database(Settings(request_deadline=7), empty_database.owner)
    shown = "SELECT current_setting($1) || ' ' || current_setting($2) || ' ' || current_setting($3)"
    names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout")
    try:
        row = await database.fetch_row(shown, *names)
        assert row is not None
        assert row[0] == "slipway 7s 14s"
        left = await asyncio.create_task(_statement_timeout(database, within=3))
        assert 1000 < int(left.removesuffix("ms")) <= 3000
    finally:
        await database.close()


async def test_the_tls_context_is_made_once_for_all_connections(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Encryption] = []

    def counted(encryption: Encryption) -> bool:
        made.append(encryption)
        return False

    monkeypatch.setattr(engine, "tls_context", counted)
    database = Database(Settings(), empty_database.owner)
    try:
        await _use_at_once(database, 3)
        await database.change_login(empty_database.app)
    finally:
        await database.close()
    assert len(made) == 1


async def test_what_writes_is_refused_outside_of_a_unit_of_work(resources: Resources) -> None:
    begun = update(JobRow).values(last_error="told to nobody").returning(JobRow.id)
    for writing in (begun, select(begun.cte("begun").c.id)):
        with pytest.raises(TypeError, match="is a unit of work"):
            await resources.database.row(Statement(writing))
    assert await resources.database.row(Statement(select(func.count().label("jobs")).select_from(JobRow))) is not None


async def test_a_session_for_reading_refuses_what_writes_and_leaves_the_rows_as_they_were(resources: Resources) -> None:
    changed = update(JobRow).values(last_error="told to nobody")

    async def add(session: AsyncSession) -> None:
        session.add(JobRow(name="told to nobody", payload={}))
        await session.flush()

    for write in (add, lambda session: session.execute(changed), lambda session: session.scalars(changed)):
        with pytest.raises(TypeError, match="is a unit of work"):
            await resources.database.read(write)
    jobs = select(func.count()).select_from(JobRow)
    assert await resources.database.read(lambda session: session.scalar(jobs)) == 0
