"""What a job is to the code that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


class JobError(Exception):
    """A failure with a sentence that may be shown: in `slipway jobs`, in the log. Never put a secret into it.

    `final` says that trying again can't help: the job becomes a dead letter at once.
    """

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        super().__init__(sentence)
        self.final = final


class LeaseLostError(Exception):
    """A run no longer holds its job: another worker may have it. What it was about to write must not be written."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a job. `attempts` counts this run too; `lease` names the run."""

    id: int
    name: str
    payload: Mapping[str, Any] = field(repr=False)
    context: Mapping[str, str] = field(repr=False)
    attempts: int
    lease: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """How a named job is done. A job may run more than once (its worker died after the work): `run` is idempotent.

    `given_up` is called with the reason when the job becomes a dead letter. `every` (seconds) makes it periodic: there
    is one such job for all workers together, it comes due again after each run, and it is never given up.
    """

    run: Callable[[Job], Awaitable[None]]
    given_up: Callable[[Job, str], Awaitable[None]] | None = None
    every: float | None = None
