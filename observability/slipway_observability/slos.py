"""Each objective by itself, as Prometheus and dashboards take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slipway.telemetry.objectives import OBJECTIVES, PERIOD_DAYS, Objective, SloClass

Kind = Literal["availability", "latency"]
Severity = Literal["page", "ticket"]

NAMES = {
    SloClass.READ: "reads",
    SloClass.WRITE: "writes",
    SloClass.SIGN_IN: "sign-ins",
    SloClass.BULK: "bulk requests",
}


@dataclass(frozen=True, slots=True)
class Slo:
    """`objective` is the share, between 0 and 1, of requests that must be good; `sentence` says so to people."""

    kind: Kind
    slo_class: SloClass
    objective: float
    sentence: str

    @property
    def budget(self) -> float:
        """The share that may be bad, without the noise of 1 - 0.999."""
        return round(1 - self.objective, 9)


@dataclass(frozen=True, slots=True)
class Burn:
    """Pages or tickets once the budget burns `factor` times as fast as it may, in both windows."""

    severity: Severity
    factor: float
    long: str
    short: str


BURNS = (
    Burn("page", 14.4, "1h", "5m"),
    Burn("page", 6, "6h", "30m"),
    Burn("ticket", 3, "1d", "2h"),
    Burn("ticket", 1, "3d", "6h"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
LONG_WINDOWS = tuple(burn.long for burn in BURNS)


def slo_rows(objectives: Mapping[SloClass, Objective] = OBJECTIVES) -> tuple[Slo, ...]:
    """All objectives of requests: the rows of the dashboards, availability first."""
    available = (
        Slo("availability", each, wanted.availability, f"{share(wanted.availability)} of {NAMES[each]} don't fail")
        for each, wanted in objectives.items()
    )
    in_time = (
        Slo(
            "latency",
            each,
            wanted.in_time,
            f"{share(wanted.in_time)} of {NAMES[each]} take at most {wanted.seconds:g} s",
        )
        for each, wanted in objectives.items()
    )
    return (*available, *in_time)


def share(part: float) -> str:
    """0.999 is 99.9 %."""
    return f"{round(part * 100, 7):g} %"


def period() -> str:
    return f"{PERIOD_DAYS}d"
