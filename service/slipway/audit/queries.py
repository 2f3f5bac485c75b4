"""SQL about the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.audit.filters import Filters
from slipway.storage.audit import AUDIT
from slipway.storage.engine import Database

BATCH = 5000
"""Rows that are read at once by whoever wants all of them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_place = tuple_(AUDIT.c.at, AUDIT.c.attempt)


class Place(NamedTuple):
    """A place in the order of rows: by time, and of one time by attempt."""

    at: datetime
    attempt: UUID

    @classmethod
    def of(cls, row: Any) -> Place:
        return cls(row.at, row.attempt)

    def packed(self) -> bytes:
        """For a cursor."""
        return ((self.at - _EPOCH) // _MICROSECOND).to_bytes(8, signed=True) + self.attempt.bytes

    @classmethod
    def unpacked(cls, packed: bytes) -> Place:
        """Raises ValueError and OverflowError for what `packed` didn't make."""
        at = _EPOCH + int.from_bytes(packed[:8], signed=True) * _MICROSECOND
        return cls(at, UUID(bytes=packed[8:]))


def newest(wanted: Filters, after: Place | None, limit: int) -> Select[Any]:
    """The newest first, from what comes `after` a place."""
    # Each index of a filter has its times so that it alone gives this order. Otherwise PostgreSQL, which takes rows to
    # be spread evenly, would walk the index of times through all that is newer than somebody who left long ago.
    at = AUDIT.c.at.desc().nulls_last() if wanted.by_index else AUDIT.c.at.desc()
    statement = _matching(wanted).order_by(at, AUDIT.c.attempt.desc()).limit(limit)
    return statement if after is None else statement.where(_place < _literal(after))


def oldest(wanted: Filters, after: Place | None, limit: int) -> Select[Any]:
    """In the order in which it happened."""
    at = AUDIT.c.at.asc().nulls_first() if wanted.by_index else AUDIT.c.at.asc()
    statement = _matching(wanted).order_by(at, AUDIT.c.attempt.asc()).limit(limit)
    return statement if after is None else statement.where(_place > _literal(after))


async def batches(database: Database, wanted: Filters) -> AsyncIterator[Sequence[Any]]:
    """All rows, the oldest first. No connection is held between batches, however slowly they are taken."""
    after = None
    while True:
        statement = oldest(wanted, after, BATCH)
        rows = await fetch(database, statement)
        yield rows
        if len(rows) < BATCH:
            return
        after = Place.of(rows[-1])


async def fetch(database: Database, statement: Select[Any]) -> Sequence[Any]:
    async def read(session: AsyncSession) -> Sequence[Any]:
        rows: Sequence[Any] = (await session.execute(statement)).all()
        return rows

    return await database.read(read)


def _matching(wanted: Filters) -> Select[Any]:
    statement = select(AUDIT)
    for name, value in wanted.by_index.items():
        statement = statement.where(AUDIT.c[name] == value)
    if wanted.since is not None:
        statement = statement.where(AUDIT.c.at >= wanted.since)
    return statement if wanted.until is None else statement.where(AUDIT.c.at < wanted.until)


def _literal(place: Place) -> ColumnElement[Any]:
    return tuple_(literal(place.at, AUDIT.c.at.type), literal(place.attempt, AUDIT.c.attempt.type))
