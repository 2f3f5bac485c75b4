"""`/api/v1/items`."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from slipway.http.idempotency import IdempotencyKeyHeader
from slipway.http.owned import CHANGED, DELETED, LISTED, SEEN, OwnerQuery, SearchQuery
from slipway.http.paging import Page, PageQuery
from slipway.http.preconditions import IfMatch
from slipway.http.problems import AuthenticationError, AuthorizationError
from slipway.http.routing import domain_router
from slipway.items.permissions import ItemsReader, ItemsWriter
from slipway.items.schemas import ItemContent, ItemOut, ItemPatch
from slipway.items.service import ITEMS

router = domain_router(ITEMS.at, "items", AuthenticationError, AuthorizationError)


@router.post("", status_code=201, summary="Create an item", response_model=ItemOut, responses=ITEMS.created)
async def create_item(
    request: Request, content: ItemContent, user: ItemsWriter, key: IdempotencyKeyHeader = None
) -> Response:
    """An item of one's own. Repeating it with the same `Idempotency-Key` gives the same reply, and no second item."""
    return await ITEMS.create(request, user.id, content, key)


@router.get("", summary="List items", responses=LISTED)
async def list_items(
    request: Request, user: ItemsReader, wanted: PageQuery, q: SearchQuery = None, owner_id: OwnerQuery = None
) -> Page[ItemOut]:
    """One's own items, oldest first; administrators name any owner, for others there is nobody else: 404."""
    return await ITEMS.page(request, wanted, user.owner(owner_id), q)


@router.get("/{item_id}", summary="Read an item", response_model=ItemOut, responses=SEEN)
async def read_item(request: Request, item_id: UUID, user: ItemsReader) -> Response:
    """One's own, or anyone's for administrators; otherwise 404."""
    return await ITEMS.read(request, item_id, user.restricted_to)


@router.put("/{item_id}", summary="Replace an item", response_model=ItemOut, responses=CHANGED)
async def replace_item(
    request: Request, item_id: UUID, content: ItemContent, user: ItemsWriter, matching: IfMatch
) -> Response:
    """With `If-Match`, only if nobody changed it since it was read."""
    return await ITEMS.change(request, item_id, user.restricted_to, content, matching)


@router.patch("/{item_id}", summary="Change an item", response_model=ItemOut, responses=CHANGED)
async def patch_item(
    request: Request, item_id: UUID, content: ItemPatch, user: ItemsWriter, matching: IfMatch
) -> Response:
    """With `If-Match`, only if nobody changed it since it was read."""
    return await ITEMS.change(request, item_id, user.restricted_to, content, matching)


@router.delete("/{item_id}", status_code=204, summary="Delete an item", responses=DELETED)
async def delete_item(request: Request, item_id: UUID, user: ItemsWriter, matching: IfMatch) -> None:
    """With `If-Match`, only if nobody changed it since it was read."""
    await ITEMS.delete(request, item_id, user.restricted_to, matching)
