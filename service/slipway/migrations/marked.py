"""Marked lines: what a program reads of a command's output, one JSON object a line behind a fixed prefix."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slipway.migrations.inspection import Plan
from slipway.migrations.masking import mask_literals
from slipway.migrations.progress import Waiting, Working
from slipway.migrations.runner import Outcome

PREFIX = "slipway.dev/v1 "

LINE_BYTES = 8 * 1024
"""Longest line, with its newline."""

MESSAGE_BYTES = 1500
"""Longest message: Kubernetes keeps 2 KiB of a container's last words, and the line must be whole in them."""

MOST_NAMES = 100
"""Revisions that the last line names of each sort, so that it stays within its bound; the last ones."""

PIECE = 6000
"""Characters of a plan in one line."""

PARTS = 200
PLAN_BYTES = 4 * 1024 * 1024
"""Most lines of a plan, and its size before compression."""

LEFT_OUT = "-- {} characters of SQL are too many to be shown here."


def plan_document(plan: Plan, *, literals: bool) -> dict[str, Any]:
    """The plan for the operator; strings of data statements are masked unless `literals`."""
    return {
        "version": 1,
        "database": {"system": plan.place.system, "name": plan.place.name},
        "current": ",".join(plan.current),
        "target": plan.target or "",
        "partial": bool(plan.untold),
        "foreign": list(plan.foreign),
        "revisions": [
            {
                "id": part.revision.id,
                "kind": part.revision.kind,
                "message": part.revision.message,
                "sql": part.sql if part.sql is None or literals else mask_literals(part.sql),
                "sql_digest": part.digest,
                "announced": part.revision.id in plan.announced,
            }
            for part in plan.sql
        ],
    }


def plan_lines(document: Mapping[str, Any]) -> list[str]:
    """The document in pieces. Of one that is too large the longest SQL isn't shown, and it is called partial.

    Raises ValueError when it is too large without any SQL.
    """
    left = dict(document)
    pieces = _pieces(left)
    while pieces is None:
        left = _without_longest(left)
        pieces = _pieces(left)
    return [
        _line({"type": "plan", "part": number, "parts": len(pieces), "data": piece})
        for number, piece in enumerate(pieces, 1)
    ]


def _pieces(document: Mapping[str, Any]) -> Sequence[str] | None:
    """None when it is too large."""
    content = _json(document).encode()
    if len(content) > PLAN_BYTES:
        return None
    packed = base64.b64encode(zlib.compress(content, 9)).decode()
    if len(packed) > PARTS * PIECE:
        return None
    return [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]


def _without_longest(document: Mapping[str, Any]) -> dict[str, Any]:
    revisions = document["revisions"]
    longest = max(revisions, key=lambda revision: len(revision["sql"] or ""), default=None)
    size = len(longest["sql"] or "") if longest else 0
    if longest is None or size <= len(LEFT_OUT) + 20:
        raise ValueError(f"A plan of {len(revisions)} revisions is too large to be told.")
    shown = LEFT_OUT.format(size)
    return {
        **document,
        "partial": True,
        "revisions": [{**longest, "sql": shown} if each is longest else each for each in revisions],
    }


def event_line(event: Waiting | Working) -> str:
    if isinstance(event, Waiting):
        return _line({"type": "waiting", "reason": event.reason, "message": _cut(event.message)})
    return _line({"type": "working", "message": _cut(event.message)})


def failed_line(reason: str, message: str, *, lasting: bool) -> str:
    return _line({"type": "failed", "reason": reason, "message": _cut(message), "lasting": lasting})


def done_line(outcome: Outcome) -> str:
    return _line(
        {
            "type": "done",
            "current": ",".join(outcome.current),
            "applied": list(outcome.applied[-MOST_NAMES:]),
            "held_back": list(outcome.held_back[-MOST_NAMES:]),
        }
    )


def listener(echo: Callable[[str], None]) -> Callable[[Waiting | Working], None]:
    """Writes each event as a marked line."""
    return lambda event: echo(event_line(event))


def _line(fields: Mapping[str, Any]) -> str:
    return PREFIX + _json(fields)


def _json(fields: Mapping[str, Any]) -> str:
    # ASCII, so that a container without a locale can print it.
    return json.dumps(fields, separators=(",", ":"))


def _cut(message: str) -> str:
    """At most `MESSAGE_BYTES`; measured as JSON, where a quote or a control character takes more."""
    while len(json.dumps(message)) > MESSAGE_BYTES:
        message = f"{message[: len(message) * 9 // 10]}…"
    return message
