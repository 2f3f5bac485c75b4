"""Conditions as kstatus reads them: of Ready, Reconciling and Stalled exactly one tells, for one reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway_operator.times import timestamp

MESSAGE_LIMIT = 4096
"""Characters, as the definitions of the resources allow."""

NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")

State = Literal["Ready", "Reconciling", "Stalled", "Suspended"]


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def by_state(state: State, reason: str, message: str) -> tuple[Condition, ...]:
    """Reconciling and Stalled are there only while they hold, as kstatus wants. Suspended, none of the three holds."""
    ready = Condition("Ready", "True" if state == "Ready" else "False", reason, message)
    if state in ("Reconciling", "Stalled"):
        return ready, Condition(state, "True", reason, message)
    return (ready,)


def merged(
    wanted: Iterable[Condition], former: Iterable[Mapping[str, Any]], generation: int, now: float
) -> list[dict[str, Any]]:
    """As a status holds them. The time of the last transition stays where the status of a condition does."""
    before = {condition["type"]: condition for condition in former}
    return [_one(condition, before.get(condition.type), generation, now) for condition in wanted]


def _one(wanted: Condition, former: Mapping[str, Any] | None, generation: int, now: float) -> dict[str, Any]:
    same = former is not None and former["status"] == wanted.status
    return {
        "type": wanted.type,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": cut(wanted.message, MESSAGE_LIMIT),
        "lastTransitionTime": former["lastTransitionTime"] if former and same else timestamp(int(now)),
        "observedGeneration": generation,
    }


def cut(text: str, limit: int) -> str:
    """At most that many characters; what was cut off shows."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int) -> str:
    return cut(NOT_PRINTABLE.sub(" ", text).strip(), limit)


def told(conditions: Iterable[Mapping[str, Any]], kind: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition; empty where it isn't there. Another pair is a transition."""
    found = next((condition for condition in conditions if condition["type"] == kind), None)
    return (found["status"], found["reason"]) if found else ("", "")
