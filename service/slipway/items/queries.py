"""SQL about items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, Select, Table, bindparam, func, insert, literal_column, select
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.http.paging import PageRequest
from slipway.items.models import Item
from slipway.storage.models import new_id

_SEARCH = literal_column("items.search", TSVECTOR)
_TABLE = cast("Table", Item.__table__)

# Made once: this is the busiest write, and building it costs more than PostgreSQL needs to run it.
_INSERT = (
    insert(_TABLE).values({name: bindparam(name) for name in ("id", "owner_id", "title", "body")}).returning(*_TABLE.c)
)


async def add(session: AsyncSession, owner_id: UUID, title: str, body: str) -> Row[Any]:
    """Insert an item and return its row."""
    values = {"id": new_id(), "owner_id": owner_id, "title": title, "body": body}
    return (await session.execute(_INSERT, values)).one()


async def get(session: AsyncSession, item_id: UUID, owner_id: UUID | None) -> Item | None:
    """None as well where it is of another owner than `owner_id`, if that is given."""
    return (await session.scalars(_matching(owner_id, None).where(Item.id == item_id))).one_or_none()


async def get_for_update(session: AsyncSession, item_id: UUID, owner_id: UUID | None) -> Item | None:
    """The same, locked; another's isn't waited for."""
    statement = _matching(owner_id, None).where(Item.id == item_id)
    return (await session.scalars(statement.with_for_update())).one_or_none()


def _matching(owner_id: UUID | None, search: str | None) -> Select[Item]:
    statement = select(Item)
    if owner_id is not None:
        statement = statement.where(Item.owner_id == owner_id)
    if search:
        statement = statement.where(_SEARCH.bool_op("@@")(func.websearch_to_tsquery("simple", search)))
    return statement


async def page(session: AsyncSession, wanted: PageRequest, owner_id: UUID | None, search: str | None) -> Sequence[Item]:
    """One row more than wanted, so that the caller knows whether more follow; `owner_id` None is everybody's."""
    statement = _matching(owner_id, search).order_by(Item.id).limit(wanted.per_page + 1).offset(wanted.offset)
    if wanted.after:
        statement = statement.where(Item.id > wanted.after)
    return (await session.scalars(statement)).all()


async def count(session: AsyncSession, owner_id: UUID | None, search: str | None) -> int:
    return (
        await session.execute(select(func.count()).select_from(_matching(owner_id, search).subquery()))
    ).scalar_one()
