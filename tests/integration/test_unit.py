"""The one way to write, against a real PostgreSQL: what is returned is committed, beside its row of the audit log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import Response
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import bindparam, insert, text

from servers.databases import TestDatabase, superuser_sql
from servers.migration_images import session, value
from servers.silence import silent_proxy
from servers.waiting import until
from slipway.context.deadline import set_deadline
from slipway.edge.faults import IN_DOUBT, as_problem
from slipway.items.models import Item
from slipway.items.schemas import ItemContent
from slipway.items.service import ITEMS
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.models import new_id
from slipway.storage.statements import Statement
from slipway.storage.unit import CommitInDoubtError, NotCommittedError, Transaction
from slipway.telemetry.tracing import Tracing

OWNER = UUID(int=7)
HULL = ItemContent(title="Hull")
TRY = Action("tests", "try")
PID = Statement(text("SELECT pg_backend_pid() AS pid"))
SLEEP = Statement(text("SELECT pg_sleep(30)"))
FAIL = Statement(text("SELECT 1 / 0"))
ADD = Statement(
    insert(Item.__table__).values(  # type: ignore[arg-type]
        id=bindparam("id"), owner_id=bindparam("owner_id"), title=bindparam("title"), body="", version=1
    )
)


@pytest.fixture(autouse=True)
async def owner(database: TestDatabase) -> None:
    user = f"INSERT INTO users (id, email, password_hash) VALUES ('{OWNER}', 'owner@example.com', '-')"  # noqa: S608
    await superuser_sql(database.server, user, database=database.name)


async def create(database: Database) -> UUID:
    """As the API does: one statement, which commits by itself."""
    item = ITEMS.new(OWNER, HULL)
    await database.unit(ITEMS.creation, lambda tx: ITEMS.add(tx, None, item, Response()))
    item_id: UUID = item.id
    return item_id


async def add(transaction: Transaction) -> UUID:
    """The same as work of several statements would do it."""
    transaction.entry.resource = item_id = new_id()
    await transaction.row(ADD, id=item_id, owner_id=OWNER, title="Hull")
    return item_id


async def create_in_steps(database: Database) -> UUID:
    return await database.unit(ITEMS.creation, add)


WAYS = pytest.mark.parametrize("make", [create, create_in_steps])


async def counted(database: TestDatabase) -> tuple[int, int, int]:
    """Items, rows of the audit log, and pairs of the two."""
    async with session(database.url_superuser) as connection:
        row = await connection.fetchrow(
            "SELECT count(items.id), count(attempt), count(items.id) FILTER (WHERE attempt IS NOT NULL)"
            " FROM items FULL JOIN audit ON resource = 'items/' || items.id"
        )
    return tuple(row)


@WAYS
async def test_what_is_written_and_its_row_of_the_audit_log_are_there_together(
    db: Database, database: TestDatabase, make: Any
) -> None:
    item_id = await make(db)
    async with session(database.url_app) as connection:
        row = await connection.fetchrow("SELECT * FROM audit")
    assert (row["kind"], row["action"], row["resource"]) == ("work", "items.create", f"items/{item_id}")
    assert await counted(database) == (1, 1, 1)


@WAYS
async def test_what_is_refused_leaves_neither_and_a_connection_that_goes_on(
    db: Database, database: TestDatabase, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(db)
    monkeypatch.setitem(globals(), "OWNER", UUID(int=8))
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await make(db)
    assert await counted(database) == (1, 1, 1)
    assert db.connections.idle == 1


@pytest.fixture
async def refused_at_commit(database: TestDatabase) -> None:
    await superuser_sql(
        database.server,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'only at commit'; END$$",
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        database=database.name,
    )


@WAYS
@pytest.mark.usefixtures("refused_at_commit")
async def test_a_constraint_that_fails_at_commit_is_an_error(db: Database, database: TestDatabase, make: Any) -> None:
    with pytest.raises(asyncpg.RaiseError, match="only at commit"):
        await make(db)
    assert await counted(database) == (0, 0, 0)
    assert db.connections.idle == 1


async def _swallow(transaction: Transaction) -> None:
    """Work that goes on after an error, with nothing left to say but COMMIT."""
    item = ITEMS.new(OWNER, HULL)
    await transaction.row(PID)
    await ITEMS.add(transaction, None, item, Response())
    with pytest.raises(asyncpg.DivisionByZeroError):
        await transaction._connection.fetchrow(FAIL.text)  # noqa: SLF001 - behind the back of what it may do


async def test_a_commit_that_answers_rollback_is_an_error(db: Database, database: TestDatabase) -> None:
    with pytest.raises(NotCommittedError, match="ROLLBACK"):
        await db.unit(TRY, _swallow)
    assert await counted(database) == (0, 0, 0)


async def test_unasked_it_would_pass_for_a_success(
    db: Database, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: nobody looks at the answer."""

    async def finish(transaction: Transaction) -> None:
        await transaction._connection.execute("COMMIT")  # noqa: SLF001

    monkeypatch.setattr(Transaction, "finish", finish)
    await db.unit(TRY, _swallow)
    assert await counted(database) == (0, 0, 0)


async def test_nothing_can_follow_what_may_be_committed(db: Database) -> None:
    async def more(transaction: Transaction) -> None:
        await ITEMS.add(transaction, None, ITEMS.new(OWNER, HULL), Response())
        await transaction.row(PID)

    with pytest.raises(RuntimeError, match="concluded"):
        await db.unit(TRY, more)


async def test_a_connection_lost_before_the_commit_has_done_nothing_and_the_work_is_run_again(
    db: Database, database: TestDatabase
) -> None:
    pids: list[int] = []

    async def work(transaction: Transaction) -> None:
        await add(transaction)
        row = await transaction.row(PID)
        assert row is not None
        pids.append(row.pid)
        if len(pids) == 1:
            await superuser_sql(database.server, f"SELECT pg_terminate_backend({row.pid})")
        await transaction.row(PID)

    await db.unit(ITEMS.creation, work)
    assert len(set(pids)) == 2
    assert await counted(database) == (1, 1, 1)


async def test_one_that_is_lost_again_and_again_is_an_error_after_the_second(
    db: Database, database: TestDatabase
) -> None:
    pids: list[int] = []

    async def work(transaction: Transaction) -> None:
        row = await transaction.row(PID)
        assert row is not None
        pids.append(row.pid)
        await superuser_sql(database.server, f"SELECT pg_terminate_backend({row.pid})")
        await transaction.row(PID)

    with pytest.raises(asyncpg.PostgresError) as lost:
        await db.unit(TRY, work)
    problem = as_problem(lost.value)
    assert problem is not None
    assert problem.status == 503
    assert (len(pids), db.connections.idle) == (2, 0)


@WAYS
async def test_a_commit_whose_answer_is_lost_is_an_error_and_never_run_again(
    settings: Settings, database: TestDatabase, make: Any
) -> None:
    """Whether it took place nobody knows here: run again, it could take place twice."""
    async with silent_proxy(database.app.port) as proxy:
        opened = Database(settings.with_changes(request_deadline=0.5), replace(database.app, port=proxy.port))
        try:
            await make(opened)
            # A lock holds the statement up; so it is on its way when the server falls silent.
            async with session(database.url_superuser) as other, other.transaction():
                await other.execute("LOCK TABLE items IN SHARE MODE")
                trying = asyncio.create_task(make(opened))
                await until(lambda: _waiting(database))
                proxy.silence()
            with pytest.raises((CommitInDoubtError, TimeoutError)) as lost:
                await trying
            problem = as_problem(lost.value)
            assert problem is not None
            # In steps nothing that may commit had been sent: nothing was done, and nobody has to look.
            assert (problem.status, problem.message == IN_DOUBT) == (503, make is create)
            assert opened.connections.idle == 0
        finally:
            await opened.close()
    items, rows, pairs = await counted(database)
    assert items == rows == pairs <= 2


async def _waiting(database: TestDatabase) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await value(database.url_superuser, waiting))


@pytest.mark.parametrize("left", [0.5, 29.5])
@WAYS
async def test_a_statement_ends_with_the_requests_deadline(
    settings: Settings, database: TestDatabase, make: Any, left: float
) -> None:
    """With little left BEGIN carries it; with nearly all of it the connection's own limit is the same."""
    limit = 30 if left < 1 else 0.5
    db = Database(settings.with_changes(request_deadline=limit), database.app)
    try:
        await make(db)
        async with session(database.url_superuser) as other, other.transaction():
            await other.execute("LOCK TABLE items IN SHARE MODE")
            began = monotonic()
            set_deadline(monotonic() + min(left, limit))
            with pytest.raises(asyncpg.QueryCanceledError):
                await make(db)
            assert monotonic() - began < 5
        assert db.connections.idle == 1
    finally:
        await db.close()
    assert await counted(database) == (1, 1, 1)


@WAYS
async def test_work_that_is_cancelled_is_stopped_in_the_database_too(
    db: Database, database: TestDatabase, make: Any
) -> None:
    async with session(database.url_superuser) as other, other.transaction():
        await other.execute("LOCK TABLE items IN SHARE MODE")
        trying = asyncio.create_task(make(db))
        await until(lambda: _waiting(database))
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying
        await until(lambda: _nobody_waits(database))
    assert db.connections.idle == 0
    assert await counted(database) == (0, 0, 0)


async def _nobody_waits(database: TestDatabase) -> bool:
    return not await _waiting(database)


async def test_work_under_way_ends_as_the_old_login_and_the_next_is_the_new_one(
    db: Database, database: TestDatabase
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    who = Statement(text("SELECT session_user AS role"))

    async def work(transaction: Transaction) -> tuple[str, str]:
        first = await transaction.row(who)
        begun.set()
        await release.wait()
        last = await transaction.row(who)
        assert first is not None
        assert last is not None
        return first.role, last.role

    under_way = asyncio.create_task(db.unit(TRY, work))
    await begun.wait()
    await db.change_login(database.owner)
    release.set()
    assert await under_way == ("slipway_app", "slipway_app")
    assert db.connections.idle == 0
    assert await db.unit(TRY, work) == ("slipway_owner", "slipway_owner")


async def test_a_plan_of_before_a_schema_change_costs_another_try_and_no_error(
    db: Database, database: TestDatabase
) -> None:
    read = Statement(text("SELECT * FROM items"))
    assert await db.unit(TRY, lambda tx: tx.row(read)) is None
    await superuser_sql(database.server, "ALTER TABLE items ADD COLUMN extra text", database=database.name)
    await create_in_steps(db)
    row = await db.unit(TRY, lambda tx: tx.row(read))
    assert row is not None
    assert row.extra is None


async def test_what_follows_a_commit_and_fails_does_not_undo_its_success(
    db: Database, database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: UUID) -> None:
        raise OSError("no cache")

    await db.unit(ITEMS.creation, add, then=fail)
    assert await counted(database) == (1, 1, 1)
    assert "An act after commit failed" in caplog.text


@pytest.mark.parametrize(
    "broken", [{"password": SecretStr("wrong")}, {"username": "nobody"}, {"database": "none"}, {"port": 1}]
)
async def test_a_connection_that_is_refused_is_told_as_a_read_tells_it(
    database: TestDatabase, settings: Settings, broken: dict[str, Any]
) -> None:
    pool = Database(settings, replace(database.app, **broken))
    try:
        with pytest.raises((asyncpg.PostgresError, OSError)) as unit:
            await create(pool)
        with pytest.raises(Exception) as read:  # noqa: PT011 - SQLAlchemy's word for the same
            await pool.read(lambda session: session.execute(text("SELECT 1")))
    finally:
        await pool.close()
    problems = [as_problem(error.value) for error in (unit, read)]
    assert [problem and problem.status for problem in problems] == [503, 503]


async def test_each_statement_of_it_and_its_commit_is_a_span_and_no_value_is_in_any(
    settings: Settings, db: Database
) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(settings.with_changes(trace_sample_ratio=1), exporter=exporter)
    with tracing.tracer.start_as_current_span("request") as request:
        item_id = await create_in_steps(db)
    await create_in_steps(db)
    tracing.shutdown()
    done = [span for span in exporter.get_finished_spans() if span.parent is not None]
    assert [span.name for span in done] == ["INSERT items", "COMMIT"]
    assert {span.parent.span_id for span in done if span.parent} == {request.get_span_context().span_id}
    assert str(item_id) not in "".join(span.to_json() for span in done)
