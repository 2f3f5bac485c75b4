"""One way to write: a function's statements, the row of the audit log, and COMMIT, on the driver's own connection.

`Database.unit` runs them. Failure policy: what is returned is committed. Whatever else happens, the connection is
rolled back, or closed where its state isn't known. A connection that is lost before the last words were sent has done
nothing, so the work is run once more on another one; lost after that, nobody knows here: CommitInDoubtError.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import asyncpg
from opentelemetry.trace import SpanKind
from sqlalchemy import ColumnElement, Insert, Table, bindparam, insert, literal_column, select
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.expression import CTE

from slipway.context.deadline import remaining
from slipway.storage.audit import AUDIT, ENTRY, TOLD, Action, Entry
from slipway.storage.connections import Connections, end
from slipway.storage.statements import Row, Statement
from slipway.telemetry.spans import span

T = TypeVar("T")
logger = logging.getLogger("slipway.storage")

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,  # the server's last words are there, its FIN not
    ConnectionError,
)
_OUTDATED = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A plan of the time before a schema change, which the driver has forgotten by now."""

ENOUGH = 0.9
"""The part of `request_deadline` that must be left where a connection's own time limit may stand for the request's."""

SILENCE = 1.0
"""Seconds beyond a statement's own time limit after which a server that says nothing is given up."""

_DONE: ColumnElement[int] = literal_column("1").label("done")
"""What a statement gives back that only says that it did something: rows that nobody reads cost both sides."""

_COMMIT = {"db.system.name": "postgresql", "db.query.text": f"{TOLD}; COMMIT"}


class NotCommittedError(RuntimeError):
    """PostgreSQL answered COMMIT with another word: the work went on after a statement of its had failed."""


class CommitInDoubtError(ConnectionError):
    """The connection was lost after what may commit had been sent: whether the work was done isn't known here."""


class OneInsert:
    """A work that is one row, with its row of the audit log in the same statement: one round trip in all.

    `claiming`, a statement that returns a row when it may be done, goes before it.
    """

    def __init__(self, table: Table, *names: str, claiming: ReturningInsert[Any] | None = None) -> None:
        values = select(*(bindparam(name, type_=table.c[name].type) for name in names))
        claimed = None if claiming is None else claiming.cte("claimed")
        work = insert(table).from_select(names, values if claimed is None else values.select_from(claimed))
        self.statement = Statement(_audited(work.returning(_DONE)))


def _audited(work: Insert) -> Any:
    done: CTE = work.cte("work")
    entry = select(*ENTRY.values()).select_from(done)
    told = insert(AUDIT).from_select(list(ENTRY), entry)
    return select(_DONE).select_from(done).add_cte(told.cte("told"))


class Transaction:
    """What work may do: run statements, and say in `entry` what they are about. BEGIN goes before the first one."""

    __slots__ = ("_begun", "_concluded", "_connection", "_ended", "_limit", "_patience", "entry", "leaving")

    def __init__(self, connection: Any, entry: Entry, limit: float) -> None:
        self.entry = entry
        self.leaving = False
        """Whether what may commit has been sent."""
        self._connection = connection
        self._limit = limit
        self._patience = limit + SILENCE
        self._begun = False
        self._concluded = False
        self._ended = False

    async def row(self, statement: Statement, **values: Any) -> Row | None:
        """The first row of the result, or of those returned."""
        await self.begin()
        return await self._row(statement, values)

    async def rows(self, statement: Statement, **values: Any) -> list[Row]:
        await self.begin()
        with span(statement.name, kind=SpanKind.CLIENT, attributes=statement.attributes):
            found = await self._connection.fetch(
                statement.text, *statement.arguments(values), record_class=Row, timeout=self._patience
            )
        return cast("list[Row]", found)

    async def conclude(self, whole: OneInsert, **values: Any) -> bool:
        """Add the row and tell of it; False when it isn't claimed. After a row nothing may follow.

        As the only statement it commits by itself, under the connection's own limit, which is `request_deadline` from
        here on: so only while most of that is left.
        """
        self._refuse_more()
        alone = not self._begun and ((left := remaining()) is None or left >= ENOUGH * self._limit)
        if not alone:
            await self.begin()
        self.leaving = alone
        done = await self._row(whole.statement, {**values, **self.entry.values()})
        self._concluded = self._ended = done is not None
        self.leaving = self._concluded and alone
        return self._concluded

    def leave_nothing(self) -> None:
        """What was run has found nothing to change: it is rolled back, and not told. Nothing may follow."""
        self._refuse_more()
        self._ended = True

    def end(self) -> None:
        """The connection may be somebody else's from here on."""
        self._ended = True

    async def finish(self) -> None:
        """Tell of the work and commit, in one text. Raises NotCommittedError; work that ran nothing leaves nothing."""
        if not self._begun:
            return
        if self._ended and not self._concluded:
            await self.roll_back()
            return
        self.leaving = True
        text = "COMMIT" if self._concluded else f"{self.entry.insert()};COMMIT"
        with span("COMMIT", kind=SpanKind.CLIENT, attributes=_COMMIT):
            answer = await self._connection.execute(text, timeout=self._patience)
        if answer != "COMMIT":
            raise NotCommittedError(f"PostgreSQL answered {answer}.")

    async def roll_back(self) -> None:
        if self._connection.is_in_transaction():
            await self._connection.execute("ROLLBACK", timeout=self._patience)

    async def begin(self) -> None:
        """Called by all that runs a statement; by work itself where its row of the audit log is all that it leaves."""
        self._refuse_more()
        if not self._begun:
            await self._connection.execute("BEGIN;", timeout=self._patience)
            self._begun = True

    def _refuse_more(self) -> None:
        if self._ended:
            raise RuntimeError("This work is concluded, and may be committed: nothing can be added to it.")

    async def _row(self, statement: Statement, values: Mapping[str, Any]) -> Row | None:
        with span(statement.name, kind=SpanKind.CLIENT, attributes=statement.attributes):
            found = await self._connection.fetchrow(
                statement.text, *statement.arguments(values), record_class=Row, timeout=self._patience
            )
        return cast("Row | None", found)


class Asked(Protocol):
    """A transaction, or the database where a read belongs to none: for statements that both are asked."""

    async def row(self, statement: Statement, **values: Any) -> Row | None: ...


async def commit(
    connections: Connections, limit: float, action: Action, work: Callable[[Transaction], Awaitable[T]]
) -> T:
    """Run `work` and commit it; once more where that is safe.

    Raises what work raises, asyncpg's errors, and CommitInDoubtError.
    """
    for last in (False, True):
        entry = Entry.of(action)
        pooled = await connections.take()
        transaction = Transaction(pooled.driver_connection, entry, limit)
        try:
            result = await work(transaction)
            await transaction.finish()
        except Exception as error:
            lost = _is_lost(error, pooled.driver_connection)
            known = not lost and not isinstance(error, TimeoutError)
            await _give_back(pooled, transaction, known=known)
            if transaction.leaving and not known:
                raise CommitInDoubtError("The connection was lost while the work was being committed.") from error
            if last or transaction.leaving or not (lost or isinstance(error, _OUTDATED)):
                if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError) and lost:
                    # The one of asyncpg's words for it that callers know.
                    raise asyncpg.ConnectionDoesNotExistError("The connection was lost.") from error
                raise
        except BaseException:
            # Cancelled in the middle: the connection is closed, and PostgreSQL told to stop what it does.
            await end(pooled)
            raise
        else:
            return result
        finally:
            transaction.end()
            connections.give_back(pooled)
    raise AssertionError  # the second turn returns or raises


async def _give_back(pooled: Any, transaction: Transaction, *, known: bool) -> None:
    """Roll back; nobody gets a connection whose state isn't `known`, or whose transaction doesn't end."""
    try:
        if known:
            await transaction.roll_back()
            return
    except Exception as error:  # noqa: BLE001 - what is raised is the error that led here
        logger.warning("A connection that can't be rolled back is closed", extra={"error": type(error).__name__})
    except BaseException:
        await end(pooled)
        raise
    await end(pooled)


def _is_lost(error: Exception, connection: Any) -> bool:
    return isinstance(error, _LOST) or (isinstance(error, asyncpg.InterfaceError) and connection.is_closed())
