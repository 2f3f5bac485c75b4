"""Waiting for something that can only be looked at."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

PAUSE = 0.05


def until(look: Callable[[], bool], within: float) -> None:
    """Until `look` is true; TimeoutError after `within` seconds."""
    end = monotonic() + within
    while not look():
        if monotonic() > end:
            raise TimeoutError(f"not seen within {within:g} s")
        sleep(PAUSE)
