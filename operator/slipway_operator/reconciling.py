"""What looks at every kind of resource have in common: which are there, and how a refusal of the API server is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from slipway_operator.cluster import Api, ApiError, Resource, is_refusal
from slipway_operator.conditions import one_line
from slipway_operator.worklist import Key

MESSAGE_LIMIT = 1024

Tell = Callable[[dict[str, Any], str], Awaitable[object]]
"""Writes a message into the status of the resource, as it was read."""


async def living(api: Api, kind: Resource, namespace: str, name: str) -> dict[str, Any] | None:
    """None when it is gone, or going. Raises ApiError: what can't be reached is never taken for absent."""
    resource = await api.get(kind, namespace, name)
    return None if resource is None or resource["metadata"].get("deletionTimestamp") else resource


async def telling_of_refusals(
    api: Api, kind: Resource, key: Key, look: Callable[[Key], Awaitable[float | None]], tell: Tell
) -> float | None:
    """Seconds until the next look. Raises ApiError; one that stays until a person acts is in the status then."""
    try:
        return await look(key)
    except ApiError as error:
        if is_refusal(error):
            with suppress(ApiError):
                resource = await living(api, kind, key.namespace, key.name)
                if resource is not None:
                    text = one_line(str(error), MESSAGE_LIMIT)
                    await tell(resource, f"The API server refuses what the operator needs: {text}")
        raise
