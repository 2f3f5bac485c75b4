"""Work that is broken off at any point, or misuses its transaction: no connection is lost, or handed on unfinished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from itertools import count
from types import coroutine
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from integration.test_unit import FAIL, PID, SLEEP, TRY, add, counted, create, create_in_steps, owner
from servers.databases import TestDatabase
from servers.waiting import until
from slipway.settings import Settings
from slipway.storage import unit
from slipway.storage.connections import drop
from slipway.storage.engine import Database
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

__all__ = ["owner"]  # a fixture, used by all of them

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"


@pytest.fixture
async def narrow(settings: Settings, database: TestDatabase) -> Any:
    """One connection: who loses it stops everybody."""
    limits = {"database_pool_size": 1, "database_max_overflow": 0, "database_pool_timeout": 1.0}
    opened = Database(settings.with_changes(**limits), database.app)
    yield opened
    await opened.close()


@coroutine
def broken_off(work: Awaitable[Any], at: int, *, again: bool) -> Generator[Any, Any, bool]:
    """Cancel the task where it waits for the `at`th time, and when `again` wherever it waits after that.

    Whether that many waits were seen.
    """
    task = asyncio.current_task()
    assert task is not None
    steps: Any = work.__await__()
    step, given = steps.send, None
    for wait in count(1):
        try:
            waited = step(given)
        except (StopIteration, asyncio.CancelledError):
            while task.uncancel():
                pass
            return wait > at
        if wait == at or (again and wait > at):
            task.cancel()
        try:
            step, given = steps.send, (yield waited)
        except BaseException as error:  # noqa: BLE001 - handed on as it came
            step, given = steps.throw, error
    raise AssertionError


async def fails(transaction: Transaction) -> None:
    await add(transaction)
    await transaction.row(FAIL)


async def refused(database: Database) -> None:
    with suppress(asyncpg.DivisionByZeroError):
        await database.unit(TRY, fails)


async def idle(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.row(PID)
        transaction.leave_nothing()

    await database.unit(TRY, work)


@pytest.mark.parametrize("make", [create, create_in_steps, refused, idle])
@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
async def test_wherever_it_is_cancelled_it_is_done_with_its_row_or_not_at_all_and_the_pool_is_whole(
    narrow: Database, database: TestDatabase, make: Callable[[Database], Awaitable[object]], *, again: bool
) -> None:
    reached = 0
    for at in count(1):
        if not await broken_off(make(narrow), at, again=again):
            break
        reached = at
        assert narrow.connections.in_use == 0
        await create_in_steps(narrow)
        items, rows, pairs = await counted(database)
        assert items == rows == pairs >= at
    assert reached >= 2
    await until(lambda: _nothing_is_open(narrow))


async def _nothing_is_open(database: Database) -> bool:
    row = await database.fetch_row(OPEN)
    return row is not None and row[0] == 0


async def test_a_connection_that_is_not_closed_when_it_is_cancelled_would_be_handed_on_in_the_middle(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    async def keep(*_: object) -> None:
        pass

    monkeypatch.setattr(unit, "end", keep)
    in_the_middle = 0
    for at in count(1):
        if not await broken_off(create_in_steps(narrow), at, again=False):
            break
        raw = await narrow.connections.take()
        driver: Any = raw.driver_connection
        in_the_middle += driver.is_in_transaction() or driver.is_closed()
        drop(raw)
    assert in_the_middle > 0


async def test_who_is_cancelled_while_waiting_for_a_connection_takes_none(narrow: Database) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(transaction: Transaction) -> None:
        await transaction.row(PID)
        begun.set()
        await release.wait()

    holding = asyncio.create_task(narrow.unit(TRY, hold))
    await begun.wait()
    waiting = asyncio.create_task(create_in_steps(narrow))
    await asyncio.sleep(0)
    waiting.cancel()
    release.set()
    await holding
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await create_in_steps(narrow)
    assert narrow.connections.in_use == 0


async def at_once(transaction: Transaction) -> None:
    """One connection does one thing at a time; the other's error comes while the first is under way."""
    await transaction.row(PID)
    await asyncio.gather(transaction.row(SLEEP), transaction.row(PID))


async def raises(transaction: Transaction) -> None:
    await add(transaction)
    raise ZeroDivisionError


async def too_slow(transaction: Transaction) -> None:
    await add(transaction)
    async with asyncio.timeout(0.05):
        await transaction.row(SLEEP)


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (at_once, asyncpg.InterfaceError),
        (fails, asyncpg.DivisionByZeroError),
        (raises, ZeroDivisionError),
        (too_slow, TimeoutError),
    ],
)
async def test_whatever_ends_it_the_next_has_a_connection_that_is_in_no_transaction(
    narrow: Database, database: TestDatabase, work: Callable[[Transaction], Awaitable[None]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await narrow.unit(TRY, work)
    assert await counted(database) == (0, 0, 0)
    await create_in_steps(narrow)
    assert await counted(database) == (1, 1, 1)
    assert narrow.connections.in_use == 0


async def test_what_goes_on_after_its_work_has_ended_reaches_nobody_elses_connection(
    narrow: Database, database: TestDatabase
) -> None:
    go_on = asyncio.Event()
    left: list[asyncio.Task[object]] = []

    async def work(transaction: Transaction) -> None:
        async def late() -> object:
            await go_on.wait()
            return await add(transaction)

        await transaction.begin()
        left.append(asyncio.create_task(late()))

    await narrow.unit(TRY, work)
    go_on.set()
    with pytest.raises(RuntimeError, match="concluded"):
        await left[0]
    assert await counted(database) == (0, 1, 0)


async def test_what_finds_nothing_to_do_is_rolled_back_and_leaves_nothing(
    narrow: Database, database: TestDatabase
) -> None:
    async def work(transaction: Transaction) -> str:
        await add(transaction)
        transaction.leave_nothing()
        return "nothing"

    assert await narrow.unit(TRY, work) == "nothing"
    assert await counted(database) == (0, 0, 0)
    assert narrow.connections.idle == 1
    await create_in_steps(narrow)
    assert await counted(database) == (1, 1, 1)


async def test_unsaid_it_would_be_told_as_if_it_had_been_done(
    narrow: Database, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(Transaction, "leave_nothing", lambda _: None)

    async def work(transaction: Transaction) -> None:
        await transaction.row(PID)
        transaction.leave_nothing()

    await narrow.unit(TRY, work)
    assert await counted(database) == (0, 1, 0)


async def test_nothing_can_follow_what_leaves_nothing(narrow: Database, database: TestDatabase) -> None:
    """It would be lost, though its work is said to be done."""

    async def work(transaction: Transaction) -> None:
        transaction.leave_nothing()
        await add(transaction)

    with pytest.raises(RuntimeError, match="concluded"):
        await narrow.unit(TRY, work)
    assert await counted(database) == (0, 0, 0)


LONGER = Statement(text("SELECT set_config('statement_timeout', '10s', true)"))
SLOW = Statement(text("SELECT pg_sleep(0.2)"))


async def test_a_work_with_a_limit_of_its_own_is_waited_for_as_long(
    settings: Settings, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(transaction: Transaction) -> None:
        await transaction.row(LONGER)
        await transaction.row(SLOW)

    monkeypatch.setattr(unit, "SILENCE", 0.0)
    hurried = Database(settings.with_changes(request_deadline=0.1), database.app)
    try:
        with pytest.raises(TimeoutError):
            await hurried.unit(TRY, slowly)
        await hurried.unit(TRY, slowly, limit=10)
    finally:
        await hurried.close()
