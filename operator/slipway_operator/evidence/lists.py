"""Fresh lists that many looks share: each begins after whoever asked for it did, and at most one runs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_operator.cluster import PODS, Api, Resource
from slipway_operator.evidence.references import has_ended, is_ours, secrets_of, template

Place = tuple[Resource, str]
"""A resource, and the namespace."""


@dataclass(frozen=True, slots=True)
class Listed:
    """`all`: without pods that have ended. `using`: those that refer to a Secret, or make what does, by its name."""

    all: tuple[Mapping[str, Any], ...]
    using: Mapping[str, tuple[Mapping[str, Any], ...]]


class Lists:
    """A look that asks while a list is under way gets the next one: that other may show what was before the look.

    What hundreds of resources cost in one namespace so is one list after the other, each read once, not one for each.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._running: dict[Place, asyncio.Task[Listed]] = {}
        self._next: dict[Place, asyncio.Task[Listed]] = {}

    async def fresh(self, resource: Resource, namespace: str) -> Listed:
        """Raises ApiError."""
        place = resource, namespace
        task = self._next.get(place)
        if task is None:
            task = self._next[place] = asyncio.create_task(self._after(self._running.get(place), place))
            task.add_done_callback(_retrieved)
        return await asyncio.shield(task)  # it is others' too

    async def _after(self, former: asyncio.Task[Listed] | None, place: Place) -> Listed:
        if former is not None:
            await asyncio.wait({former})
        self._running[place] = self._next.pop(place)
        try:
            return read(place[0], await self._api.list(*place))
        finally:
            # Still this one: the next waits for its end.
            del self._running[place]


def read(resource: Resource, objects: list[dict[str, Any]]) -> Listed:
    """With who refers to what, found once for all who ask. Pods of the operator's own migrations use nothing."""
    using: dict[str, list[Mapping[str, Any]]] = {}
    kept = [one for one in objects if not (resource == PODS and has_ended(one))]
    for one in kept:
        ours = resource == PODS and is_ours(one["metadata"].get("labels") or {})
        spec = (one.get("spec") or {}) if resource == PODS else template(resource.plural, one)
        for name in () if ours else secrets_of(spec or {}):
            using.setdefault(name, []).append(one)
    return Listed(tuple(kept), {name: tuple(found) for name, found in using.items()})


def _retrieved(task: asyncio.Task[Listed]) -> None:
    """Whoever asked may be gone, and then nobody else looks at how it failed."""
    if not task.cancelled():
        task.exception()
