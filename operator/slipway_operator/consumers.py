"""What the pods that use a Secret tell of themselves: the evidence that a rotation rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where pods report. `selector`: of those pods, as a LIST takes it."""

    selector: str
    port: int = 9090
    path: str = "/keys"


@dataclass(frozen=True, slots=True)
class Report:
    """What one running pod told; `fault` is the CamelCase reason why it told nothing.

    A pod runs when one of its containers does, ready or not, terminating or not; one in its init containers doesn't.
    """

    pod: str
    fault: str = ""
    keys: frozenset[str] = frozenset()
    signing: str = ""
    token_lifetime: float = 0.0
    """Seconds."""
    database_role: str = ""
    starting: bool = False
    """It has not started up yet, so nobody has been sent to it."""


@dataclass(frozen=True, slots=True)
class Consumers:
    """All pods that run, listed afresh. `wanted`: replicas that the workloads of these pods ask for.

    No pod at all is evidence only where none is wanted.
    """

    reports: tuple[Report, ...] = ()
    wanted: int = 0


@dataclass(frozen=True, slots=True)
class Lagging:
    """A pod that has not followed the last change, or can't be asked, and why."""

    pod: str
    reason: str


@dataclass(frozen=True, slots=True)
class Following:
    """How far the pods follow a change. `opposed` told otherwise; `unheard` and `starting` told nothing.

    `nobody`: no pod runs although some are wanted, so there is nothing to be seen.
    """

    heard: int = 0
    opposed: tuple[Lagging, ...] = ()
    unheard: tuple[Lagging, ...] = ()
    starting: tuple[Lagging, ...] = ()
    nobody: bool = False

    @property
    def all(self) -> bool:
        return not (self.lagging or self.nobody)

    @property
    def lagging(self) -> tuple[Lagging, ...]:
        return (*self.opposed, *self.unheard, *self.starting)


def following(consumers: Consumers, objection: Callable[[Report], str]) -> Following:
    """`objection`: CamelCase reason why a pod that told something doesn't follow; empty if it does."""
    opposed: list[Lagging] = []
    unheard: list[Lagging] = []
    starting: list[Lagging] = []
    for report in consumers.reports:
        if report.fault:
            (starting if report.starting else unheard).append(Lagging(report.pod, report.fault))
        elif reason := objection(report):
            opposed.append(Lagging(report.pod, reason))
    behind = len(opposed) + len(unheard) + len(starting)
    return Following(
        heard=len(consumers.reports) - behind,
        opposed=tuple(opposed),
        unheard=tuple(unheard),
        starting=tuple(starting),
        nobody=not consumers.reports and consumers.wanted > 0,
    )


def named(lagging: Sequence[Lagging], most: int = 5) -> str:
    """For a message: `a (KeyMissing), b (TimedOut) and 3 more`."""
    shown = ", ".join(f"{one.pod} ({one.reason})" for one in lagging[:most])
    return f"{shown} and {len(lagging) - most} more" if len(lagging) > most else shown
