"""What KeyRings and DatabaseLogins have in common: rotations, and how a status tells of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from slipway_operator.evidence.consumers import Lagging
from slipway_operator.times import seconds, timestamp

LAGGING_LIMIT = 20
HISTORY_LIMIT = 100


Result = Literal["Confirmed", "Unverified", "Superseded"]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of the key that signs, or of the role in use. `took`: seconds until nothing needed the old one."""

    to: str
    started: float
    cause: str
    origin: str = ""
    took: float | None = None
    result: Result | None = None


def consumers(running: int, confirmed: int, lagging: Iterable[Lagging]) -> dict[str, Any]:
    """What the last look at the pods found; the first few of those that lag."""
    shown = [{"pod": one.pod, "reason": one.reason} for one in list(lagging)[:LAGGING_LIMIT]]
    return {"running": running, "confirmed": confirmed, **({"lagging": shown} if shown else {})}


def history_shown(history: Iterable[Rotation]) -> list[dict[str, Any]]:
    """As a status has it, within its bound."""
    return [_rotation(one) for one in islice(history, HISTORY_LIMIT)]


def _rotation(one: Rotation) -> dict[str, Any]:
    found = {"from": one.origin, "to": one.to, "cause": one.cause, "started": timestamp(one.started)}
    if one.took is not None:
        found["took"] = f"{one.took:.3f}s"
    if one.result is not None:
        found["result"] = one.result
    return {name: value for name, value in found.items() if value}


def history_of(history: Iterable[Mapping[str, Any]]) -> tuple[Rotation, ...]:
    """Of a status, newest first."""
    return tuple(
        Rotation(
            to=found["to"],
            started=seconds(found["started"]),
            cause=found.get("cause", "Schedule"),
            origin=found.get("from", ""),
            took=float(found["took"].removesuffix("s")) if found.get("took") else None,
            result=found.get("result"),
        )
        for found in history
    )


def begun(history: tuple[Rotation, ...], one: Rotation) -> tuple[Rotation, ...]:
    """With one that begins, which overtakes the one before if that isn't through."""
    return (one, *closed(history, one.started, "Superseded"))


def closed(history: tuple[Rotation, ...], now: float, result: Result) -> tuple[Rotation, ...]:
    """With the end of the newest, if it is under way."""
    if not history or history[0].result is not None:
        return history
    return (replace(history[0], took=max(0.0, now - history[0].started), result=result), *history[1:])


def ended(before: Iterable[Rotation], after: Iterable[Rotation]) -> list[Rotation]:
    """Those that came to their end between two looks."""
    known = {one.started for one in before if one.result is not None}
    return [one for one in after if one.result is not None and one.started not in known]
