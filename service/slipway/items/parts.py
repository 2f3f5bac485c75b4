"""What items need of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

if TYPE_CHECKING:
    from slipway.redis.cache import Cache
    from slipway.storage.engine import Database


class ItemParts(Protocol):
    """By the names that the whole process has for them."""

    database: Database
    cache: Cache


def parts_of(request: Request) -> ItemParts:
    return cast("ItemParts", request.app.state.resources)
