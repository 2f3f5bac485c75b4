"""What the pods that use a Secret tell of themselves: the evidence that a rotation rests on."""

from __future__ import annotations

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
