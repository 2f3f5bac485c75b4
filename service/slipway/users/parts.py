"""What users need of a process: beside what sessions need, the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

from slipway.sessions.parts import SessionParts

if TYPE_CHECKING:
    from slipway.redis.cache import Cache


class UserParts(SessionParts, Protocol):
    """By the names that the whole process has for them."""

    cache: Cache


def parts_of(request: Request) -> UserParts:
    return cast("UserParts", request.app.state.resources)
