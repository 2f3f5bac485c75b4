"""Plans of statements, as `EXPLAIN (FORMAT JSON)` tells them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan's own node, and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)
