"""A clock that a test turns."""

from __future__ import annotations


class Clock:
    """In place of `monotonic` or of the wall's: `now` is what it shows, in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
