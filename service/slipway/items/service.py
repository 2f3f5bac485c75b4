"""What may be done with items, and by whom: owners with their own, administrators with anyone's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, func
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth.dependencies import Principal
from slipway.http.preconditions import Preconditions, require_match
from slipway.http.problems import NotFoundError
from slipway.items import queries
from slipway.items.models import Item
from slipway.items.schemas import ItemContent, ItemPatch


def existing(item: Item | None) -> Item:
    """Raises NotFoundError for what isn't there, or isn't the asker's to see."""
    if item is None:
        raise NotFoundError("There is no such item.")
    return item


async def create(session: AsyncSession, owner_id: UUID, content: ItemContent) -> Row[Any]:
    return await queries.add(session, owner_id, content.title, content.body)


async def change(
    session: AsyncSession,
    actor: Principal,
    item_id: UUID,
    wanted: ItemContent | ItemPatch,
    matching: Preconditions,
) -> Item:
    """Apply a change to a locked row. Raises NotFoundError and PreconditionFailedError."""
    item = existing(await queries.get_for_update(session, item_id, actor.restricted_to))
    require_match(matching, item.version)
    if wanted.title is not None:
        item.title = wanted.title
    if wanted.body is not None:
        item.body = wanted.body
    item.version += 1
    item.updated_at = func.now()
    await session.flush()
    return item


async def remove(session: AsyncSession, actor: Principal, item_id: UUID, matching: Preconditions) -> UUID:
    """Delete an item and return its owner's id. Raises NotFoundError and PreconditionFailedError."""
    item = existing(await queries.get_for_update(session, item_id, actor.restricted_to))
    require_match(matching, item.version)
    await session.delete(item)
    await session.flush()
    return item.owner_id
