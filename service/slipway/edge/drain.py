"""Whether this process is on its way out."""

from __future__ import annotations


class DrainState:
    """While draining, every reply closes its connection, so that clients open their next one elsewhere."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        self.draining = False

    def begin(self) -> None:
        self.draining = True
