"""A decision as a chain of small checks, of which the first that objects answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Seen = TypeVar("Seen")
Answer = TypeVar("Answer")


def first_answer(checks: Iterable[Callable[[Seen], Answer | None]], seen: Seen) -> Answer:
    """What a check lets pass has been seen in this very look, so every later one rests on all that is above it."""
    for check in checks:
        answer = check(seen)
        if answer is not None:
            return answer
    raise AssertionError("the last check always answers")
