"""What follows a run of a job. Pure: no database, no clock; chance is handed in."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from slipway.jobs.kinds import JobError

LONGEST_BACKOFF = 3600.0
"""Seconds; doubling stops here."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how soon, a failed job is tried again. `backoff` is the first delay in seconds."""

    attempts: int
    backoff: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` is the metric's label; `delay` says when the job comes due again, None when it never does."""

    result: Literal["done", "retried", "dead"]
    delay: timedelta | None
    error: str | None


def outcome(
    error: BaseException | None, attempts: int, every: float | None, retries: Retries, chance: float
) -> Outcome:
    """Decide by how the run ended; `chance` in [0, 1) spreads jobs that failed, or started, together."""
    if error is None:
        again = None if every is None else timedelta(seconds=every * (0.9 + 0.2 * chance))
        return Outcome("done", again, None)
    reason = describe(error)
    final = isinstance(error, JobError) and error.final
    if every is None and (final or attempts >= retries.attempts):
        return Outcome("dead", None, reason)
    longest = LONGEST_BACKOFF if every is None else min(every, LONGEST_BACKOFF)
    # 2 ** 30 seconds is past any limit; beyond, floats would overflow for a periodic job that never gets well.
    delay = min(longest, retries.backoff * 2 ** min(attempts - 1, 30)) * (0.5 + chance / 2)
    return Outcome("retried", timedelta(seconds=delay), reason)


def describe(error: BaseException) -> str:
    """The error's class, and its sentence when it is one of ours; else only where it arose.

    Messages of other errors are left out: drivers and mail servers repeat what they were given, secrets too.
    """
    name = type(error).__name__
    if isinstance(error, JobError):
        return f"{name}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "slipway" in frame.filename] or list(frames)
    where = f" in {ours[-1].name}, line {ours[-1].lineno}" if ours else ""
    return f"{name}{where}"
