"""What may be done with items, and by whom: owners with their own, administrators with anyone's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from fastapi import Response

from slipway.auth.dependencies import Principal
from slipway.http.idempotency import Key, create_once
from slipway.http.preconditions import Preconditions, require_match
from slipway.http.problems import NotFoundError
from slipway.items import queries
from slipway.items.schemas import ItemContent, ItemPatch
from slipway.storage.audit import Action
from slipway.storage.models import new_id
from slipway.storage.statements import Row
from slipway.storage.unit import Transaction

T = TypeVar("T")

CREATE = Action("items", "create")
CHANGE = Action("items", "change")
DELETE = Action("items", "delete")


def existing(item: T | None) -> T:
    """Raises NotFoundError for what isn't there, or isn't the asker's to see."""
    if item is None:
        raise NotFoundError("There is no such item.")
    return item


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it will be, dates included: what is replied is known before it is written, and stored beside it."""

    id: UUID
    owner_id: UUID
    title: str
    body: str
    created_at: datetime
    updated_at: datetime
    version: int = 1


def new(owner_id: UUID, content: ItemContent) -> NewItem:
    now = datetime.now(UTC)
    return NewItem(new_id(), owner_id, content.title, content.body, now, now)


async def create(transaction: Transaction, key: Key | None, item: NewItem, reply: Response) -> Response:
    transaction.entry.resource = item.id
    values = {name: getattr(item, name) for name in queries.NAMES}
    return await create_once(transaction, key, queries.INSERT, reply, **values)


async def change(
    transaction: Transaction,
    actor: Principal,
    item_id: UUID,
    wanted: ItemContent | ItemPatch,
    matching: Preconditions,
) -> Row:
    """Apply a change to a locked row. Raises NotFoundError and PreconditionFailedError."""
    await _lock(transaction, actor, item_id, matching)
    changed = await transaction.row(queries.UPDATE, item_id=item_id, new_title=wanted.title, new_body=wanted.body)
    return existing(changed)


async def remove(transaction: Transaction, actor: Principal, item_id: UUID, matching: Preconditions) -> UUID:
    """Delete an item and return its owner's id. Raises NotFoundError and PreconditionFailedError."""
    item = await _lock(transaction, actor, item_id, matching)
    await transaction.row(queries.DELETE, item_id=item_id)
    owner_id: UUID = item.owner_id
    return owner_id


async def _lock(transaction: Transaction, actor: Principal, item_id: UUID, matching: Preconditions) -> Any:
    transaction.entry.resource = item_id
    item = existing(await transaction.row(queries.LOCK, item_id=item_id, restricted_to=actor.restricted_to))
    require_match(matching, item.version)
    return item
