"""Lists: numbered pages for people, keyset cursors for programs that walk far."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from slipway.http.problems import ProblemDetail, ValidationError
from slipway.redis.cache import Cache

T = TypeVar("T")

LAST_PAGE = 10_000
"""Deeper pages would make the database count past a million rows; cursors have no such limit."""


R = TypeVar("R", bound="HasId")


class HasId(Protocol):
    @property
    def id(self) -> UUID: ...


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    total: int | None = Field(
        description="All that match; null when a cursor was given, and where they aren't counted.", examples=[1]
    )
    page: int | None = Field(
        description="The page asked for; null when a cursor was given, and where pages have no numbers.", examples=[1]
    )
    per_page: int = Field(examples=[20])
    next_cursor: str | None = Field(description="Pass it as `cursor` for what follows; null at the end.")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted: rows after `after` when it is set, else by number."""

    page: int
    per_page: int
    after: UUID | None

    @property
    def offset(self) -> int:
        return 0 if self.after else (self.page - 1) * self.per_page

    async def total(self, rows: Sequence[object], count: Callable[[], Awaitable[int]]) -> int | None:
        """How many there are in all; counted only where the rows fetched (one more than a page) don't tell."""
        if self.after:
            return None
        if self.page == 1 and len(rows) <= self.per_page:
            return len(rows)
        return await count()


def build_page(rows: Sequence[R], wanted: PageRequest, total: int | None, shape: Callable[[R], T]) -> Page[T]:
    """A page from rows in order of id; one more than `per_page` of them says that others follow."""
    shown = rows[: wanted.per_page]
    more = len(rows) > wanted.per_page
    return Page(
        items=[shape(row) for row in shown],
        total=total,
        page=None if wanted.after else wanted.page,
        per_page=wanted.per_page,
        next_cursor=encode_cursor(shown[-1].id) if more else None,
    )


def encode_cursor(last_id: UUID) -> str:
    """An opaque text for a position in a list that is ordered by id."""
    return opaque(last_id.bytes)


def decode_cursor(cursor: str) -> UUID:
    """Raises ValidationError for anything that `encode_cursor` didn't make."""
    return position(cursor, lambda raw: UUID(bytes=raw))


def opaque(position: bytes) -> str:
    """A cursor."""
    return base64.urlsafe_b64encode(position).rstrip(b"=").decode()


def position(cursor: str, read: Callable[[bytes], T]) -> T:
    """What `read` makes of the bytes of a cursor. Raises ValidationError where they are none, or it can't."""
    try:
        return read(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, OverflowError):
        fault = ProblemDetail(location="query.cursor", message="This is not a cursor that a list gave out.")
        raise ValidationError(details=[fault]) from None


PerPage = Annotated[int, Query(ge=1, le=100, description="Entries on a page.", examples=[20])]


async def page_request(
    page: Annotated[int, Query(ge=1, le=LAST_PAGE, description="Number of the page.", examples=[1])] = 1,
    per_page: PerPage = 20,
    cursor: Annotated[
        str | None, Query(max_length=64, description="`next_cursor` of an earlier reply; `page` is ignored then.")
    ] = None,
) -> PageRequest:
    """A coroutine, though it waits for nothing: FastAPI runs a plain function in a thread."""
    return PageRequest(page, per_page, decode_cursor(cursor) if cursor else None)


PageQuery = Annotated[PageRequest, Depends(page_request)]


async def cached_count(cache: Cache, key: str, count: Callable[[], Awaitable[int]]) -> int:
    """A total that may lag behind by the cache's bound; whoever changes it invalidates `key` after the commit."""

    async def load() -> bytes:
        return str(await count()).encode()

    return int(await cache.get_or_load(key, load) or 0)
