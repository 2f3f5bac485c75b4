"""How long the work at hand may still take, known to everything it calls."""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic

_deadline: ContextVar[float | None] = ContextVar("slipway_deadline", default=None)


def set_deadline(at: float) -> None:
    """Set when the current task must be done, on the monotonic clock (seconds)."""
    _deadline.set(at)


def remaining() -> float | None:
    """Seconds left, at least 1 ms; None when no deadline is set (jobs, command line)."""
    at = _deadline.get()
    return None if at is None else max(0.001, at - monotonic())
