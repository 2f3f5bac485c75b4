"""Waiting for what kubectl shows, at a pace that leaves the processor to what is tested."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from cluster.errors import ClusterError

Found = TypeVar("Found")

PAUSE = 0.4
"""Seconds between two looks: each is a process of its own."""


def seen(look: Callable[[], Found | None], within: float, what: Callable[[], str] | str) -> Found:
    """What `look` returns once that is truthy; after `within` seconds ClusterError says `what` was awaited."""
    end = monotonic() + within
    while not (found := look()):
        if monotonic() > end:
            raise ClusterError(f"not seen within {within:g} s: {what if isinstance(what, str) else what()}")
        sleep(PAUSE)
    return found


def lasting(look: Callable[[], Found | None], seconds: float, what: Callable[[], str] | str) -> Found:
    """What `look` returned last, if that was truthy for so long without a break; else ClusterError."""
    begun = monotonic()
    while found := look():
        if monotonic() - begun > seconds:
            return found
        sleep(PAUSE)
    raise ClusterError(
        f"over after {monotonic() - begun:.1f} of {seconds:g} s: {what if isinstance(what, str) else what()}"
    )
