"""How a command tells of itself while it works: lines for people, and events for a program that watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

Report = Callable[[str], None]
"""Takes one line for people."""

TELL_EVERY = 5.0
"""A wait is told of at once, and then again this often, seconds."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The command waits; `message` never quotes a query."""

    reason: Literal["WaitingForLock", "WaitingForRunner", "DatabaseUnreachable"]
    message: str


@dataclass(frozen=True, slots=True)
class Working:
    """The command goes on."""

    message: str


Listen = Callable[[Waiting | Working], None]


def unheard(event: Waiting | Working) -> None:
    """For who watches no events."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Whom a command tells."""

    report: Report
    listen: Listen = unheard


class Rhythm:
    """Says when to tell again of something that lasts: at once, then every `TELL_EVERY` seconds."""

    def __init__(self) -> None:
        self._due = 0.0

    def is_due(self) -> bool:
        """True at most once in every interval."""
        now = monotonic()
        if now < self._due:
            return False
        self._due = now + TELL_EVERY
        return True

    def start_over(self) -> None:
        """It ended; should it come back, that is told at once."""
        self._due = 0.0
