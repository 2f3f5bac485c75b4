"""What the statuses of KeyRings and DatabaseLogins have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from slipway_operator.consumers import Lagging
from slipway_operator.times import timestamp

LAGGING_LIMIT = 20


class Rotated(Protocol):
    """What the histories of KeyRings and DatabaseLogins have in common."""

    @property
    def origin(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def took(self) -> float | None: ...
    @property
    def result(self) -> str | None: ...


def consumers(running: int, confirmed: int, lagging: Iterable[Lagging]) -> dict[str, Any]:
    """What the last look at the pods found; the first few of those that lag."""
    shown = [{"pod": one.pod, "reason": one.reason} for one in list(lagging)[:LAGGING_LIMIT]]
    return {"running": running, "confirmed": confirmed, **({"lagging": shown} if shown else {})}


def rotation(one: Rotated) -> dict[str, Any]:
    """Of a KeyRing or a DatabaseLogin. `took` in seconds; one that is under way has neither that nor a result."""
    found = {"from": one.origin, "to": one.to, "cause": one.cause, "started": timestamp(one.started)}
    if one.took is not None:
        found["took"] = f"{one.took:.3f}s"
    if one.result is not None:
        found["result"] = one.result
    return {name: value for name, value in found.items() if value}


def took_of(found: Mapping[str, Any]) -> float | None:
    took = found.get("took", "")
    return float(took.removesuffix("s")) if took else None
