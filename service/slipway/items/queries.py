"""SQL about items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import Select, Table, Text, Uuid, bindparam, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.http.idempotency import OneCreate
from slipway.http.paging import PageRequest
from slipway.items.models import Item
from slipway.storage.statements import Statement

_SEARCH = literal_column("items.search", TSVECTOR)
_TABLE = cast("Table", Item.__table__)

NAMES = tuple(_TABLE.c.keys())
INSERT = OneCreate(_TABLE, *NAMES)
_ROW = select(*_TABLE.c).where(
    _TABLE.c.id == bindparam("item_id"),
    or_(bindparam("restricted_to", type_=Uuid).is_(None), _TABLE.c.owner_id == bindparam("restricted_to")),
)
LOCK = Statement(_ROW.with_for_update())
"""The row, locked; another's than `restricted_to`, if that is given, isn't waited for."""
UPDATE = Statement(
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("item_id"))
    .values(
        title=func.coalesce(bindparam("new_title", type_=Text), _TABLE.c.title),
        body=func.coalesce(bindparam("new_body", type_=Text), _TABLE.c.body),
        version=_TABLE.c.version + 1,
        # Of the database's clock, while an item's first date is of a pod's: never before that.
        updated_at=func.greatest(func.now(), _TABLE.c.updated_at),
    )
    .returning(*_TABLE.c)
)
DELETE = Statement(delete(_TABLE).where(_TABLE.c.id == bindparam("item_id")))


async def get(session: AsyncSession, item_id: UUID, owner_id: UUID | None) -> Item | None:
    """None as well where it is of another owner than `owner_id`, if that is given."""
    return (await session.scalars(_matching(owner_id, None).where(Item.id == item_id))).one_or_none()


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
