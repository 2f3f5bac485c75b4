"""What users may expect, in numbers: the one source of recording rules, burn-rate alerts, dashboards and docs/slos.md.

`make observability` writes those anew when a number here changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PERIOD_DAYS = 30
"""An error budget is that of so many days."""


class SloClass(StrEnum):
    """What kind of request it is, as far as users' patience goes."""

    READ = "read"
    WRITE = "write"
    SIGN_IN = "sign_in"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Objective:
    """Shares between 0 and 1: `availability` of requests that don't fail (5xx), `in_time` of others, in `seconds`."""

    availability: float
    seconds: float
    in_time: float


@dataclass(frozen=True, slots=True)
class LimitInTime:
    """Something may be `seconds` old; of the time, at least the share `in_time` it is no older."""

    seconds: float
    in_time: float


OBJECTIVES = {
    SloClass.READ: Objective(availability=0.999, seconds=0.25, in_time=0.99),
    SloClass.WRITE: Objective(availability=0.999, seconds=0.5, in_time=0.99),
    # argon2id takes 0.3 s by itself.
    SloClass.SIGN_IN: Objective(availability=0.999, seconds=2.5, in_time=0.99),
    SloClass.BULK: Objective(availability=0.995, seconds=5.0, in_time=0.95),
}

JOBS = LimitInTime(seconds=300.0, in_time=0.99)
"""How long a due job waits for a worker."""

MIGRATION_OVER_BUDGET_SECONDS = 0.0
"""How long a migration may run beyond the budget of its SchemaMigration."""

ROTATION_OVERDUE_SECONDS = 3600.0
"""How long a key or a login may go on after it was due to be rotated."""

BY_METHOD = {"GET": SloClass.READ, "HEAD": SloClass.READ}
"""Any other method writes."""
_SAID = "slipway_slo_class"


def counts_as(said: SloClass | None) -> Callable[[F], F]:
    """For a route whose class doesn't follow from its method; None: it counts for no objective."""

    def say(endpoint: F) -> F:
        setattr(endpoint, _SAID, said)
        return endpoint

    return say


def class_of(endpoint: Callable[..., Any], method: str) -> SloClass | None:
    """What `endpoint` said of itself, else what follows from `method` (upper case)."""
    said: SloClass | None = getattr(endpoint, _SAID, BY_METHOD.get(method, SloClass.WRITE))
    return said
