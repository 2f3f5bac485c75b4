"""`/api/v1/items`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from slipway.auth.dependencies import Principal
from slipway.http.fields import CleanText
from slipway.http.idempotency import IdempotencyKeyHeader, key_of
from slipway.http.openapi import versioned
from slipway.http.paging import Page, PageQuery, build_page, cached_count
from slipway.http.preconditions import IfMatch, Preconditions, etag
from slipway.http.problems import (
    AuthenticationError,
    AuthorizationError,
    NotFoundError,
    PreconditionFailedError,
    responses,
)
from slipway.http.routing import domain_router
from slipway.items import queries, service
from slipway.items.parts import ItemParts, parts_of
from slipway.items.permissions import ItemsReader, ItemsWriter
from slipway.items.schemas import ItemContent, ItemOut, ItemPatch
from slipway.storage.unit import Transaction

router = domain_router("/api/v1/items", "items", AuthenticationError, AuthorizationError)


def _reply(item: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = ItemOut.model_validate(item).model_dump_json()
    return Response(body, status, {"ETag": etag(item.version), **(headers or {})}, "application/json")


def _total_key(owner_id: UUID) -> str:
    return f"items:total:{owner_id}"


_LINKS = {"read": ("read_item", "item_id"), "change": ("patch_item", "item_id"), "delete": ("delete_item", "item_id")}


@router.post(
    "", status_code=201, summary="Create an item", response_model=ItemOut, responses=versioned(201, links=_LINKS)
)
async def create_item(
    request: Request, content: ItemContent, user: ItemsWriter, key: IdempotencyKeyHeader = None
) -> Response:
    """An item of one's own. Repeating it with the same `Idempotency-Key` gives the same reply, and no second item."""
    parts = parts_of(request)
    once = await key_of(request, user.id, key)
    item = service.new(user.id, content)
    reply = _reply(item, 201, {"Location": f"/api/v1/items/{item.id}"})

    async def work(transaction: Transaction) -> Response:
        return await service.create(transaction, once, item, reply)

    async def then(_: Response) -> None:
        await parts.cache.invalidate(_total_key(user.id))

    return await parts.database.unit(service.CREATE, work, then=then)


@router.get("", summary="List items", responses=responses(NotFoundError))
async def list_items(
    request: Request,
    user: ItemsReader,
    wanted: PageQuery,
    q: Annotated[
        CleanText | None,
        Query(max_length=200, description='Words to find; `"a phrase"`, `or` and `-not` work.', examples=["hull"]),
    ] = None,
    owner_id: Annotated[
        UUID | None, Query(description="Whose items; others than one's own only for administrators.")
    ] = None,
) -> Page[ItemOut]:
    """One's own items, oldest first; administrators name any owner, for others there is nobody else: 404."""
    owner = user.owner(owner_id)
    parts = parts_of(request)
    rows = await parts.database.read(lambda session: queries.page(session, wanted, owner, q))
    total = await wanted.total(rows, lambda: _count(parts, owner, q))
    return build_page(rows, wanted, total, ItemOut.model_validate)


async def _count(parts: ItemParts, owner: UUID, search: str | None) -> int:
    async def count() -> int:
        return await parts.database.read(lambda session: queries.count(session, owner, search))

    return await count() if search else await cached_count(parts.cache, _total_key(owner), count)


_READ = responses(NotFoundError) | versioned(200)


@router.get("/{item_id}", summary="Read an item", response_model=ItemOut, responses=_READ)
async def read_item(request: Request, item_id: UUID, user: ItemsReader) -> Response:
    """One's own, or anyone's for administrators; otherwise 404."""
    item = await parts_of(request).database.read(lambda session: queries.get(session, item_id, user.restricted_to))
    return _reply(service.existing(item))


_WRITE_ERRORS = responses(NotFoundError, PreconditionFailedError)
_WRITE = _WRITE_ERRORS | versioned(200)


@router.put("/{item_id}", summary="Replace an item", response_model=ItemOut, responses=_WRITE)
async def replace_item(
    request: Request, item_id: UUID, content: ItemContent, user: ItemsWriter, matching: IfMatch
) -> Response:
    """With `If-Match`, only if nobody changed it since it was read."""
    return await _change(request, item_id, content, user, matching)


@router.patch("/{item_id}", summary="Change an item", response_model=ItemOut, responses=_WRITE)
async def patch_item(
    request: Request, item_id: UUID, content: ItemPatch, user: ItemsWriter, matching: IfMatch
) -> Response:
    """With `If-Match`, only if nobody changed it since it was read."""
    return await _change(request, item_id, content, user, matching)


async def _change(
    request: Request, item_id: UUID, content: ItemContent | ItemPatch, user: Principal, matching: Preconditions
) -> Response:
    async def work(transaction: Transaction) -> Response:
        return _reply(await service.change(transaction, user, item_id, content, matching))

    return await parts_of(request).database.unit(service.CHANGE, work)


@router.delete("/{item_id}", status_code=204, summary="Delete an item", responses=_WRITE_ERRORS)
async def delete_item(request: Request, item_id: UUID, user: ItemsWriter, matching: IfMatch) -> None:
    """With `If-Match`, only if nobody changed it since it was read."""
    parts = parts_of(request)

    async def work(transaction: Transaction) -> UUID:
        return await service.remove(transaction, user, item_id, matching)

    async def then(owner_id: UUID) -> None:
        await parts.cache.invalidate(_total_key(owner_id))

    await parts.database.unit(service.DELETE, work, then=then)
