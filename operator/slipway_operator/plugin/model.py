"""What is seen of a release, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

State = Literal["Ready", "Reconciling", "Stalled", "Suspended", "Unseen"]


class Verdict(IntEnum):
    """The exit code; 1 is left for what can't be asked."""

    FINE = 0
    ACT = 2
    CHANGE = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment. `behind`: its controller hasn't looked at the last change yet."""

    name: str
    component: str
    image: str
    wanted: int
    updated: int
    ready: int
    available: int
    total: int
    behind: bool

    @property
    def settled(self) -> bool:
        return not self.behind and self.wanted == self.updated == self.available == self.total


@dataclass(frozen=True, slots=True)
class Resource:
    """One of the operator's. `facts` are what its kind tells besides, in the order of showing."""

    kind: Literal["SchemaMigration", "KeyRing", "DatabaseLogin"]
    name: str
    state: State
    reason: str
    message: str
    facts: Mapping[str, str]
    lagging: tuple[str, ...] = ()
    plan: str = ""
    """The ConfigMap that holds the SQL of a migration that waits."""
    rollback_unsafe: str = ""
    """Why the image before this one can't be gone back to; empty where it can, or where nobody says."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """`oldest`: seconds for which the job that is due the longest has waited."""

    waiting: int
    dead: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Budget:
    """`left`: the part of the error budget of 30 days that is left; below 0 where it is overdrawn."""

    slo: str
    slo_class: str
    left: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything of one look. None or empty, and a sentence in `unknown`, where something couldn't be asked."""

    namespace: str
    release: str
    workloads: tuple[Workload, ...]
    resources: tuple[Resource, ...]
    dependencies: Mapping[str, bool] | None
    """By name, whether it is there."""
    jobs: Jobs | None
    budgets: tuple[Budget, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What somebody must do something about, or what goes on. `command` is empty where there is nothing to type."""

    verdict: Verdict
    sentence: str
    command: str = ""
    page: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`findings` have the most urgent first."""

    verdict: Verdict
    sentence: str
    command: str
    page: str
    findings: tuple[Finding, ...]
    seen: Seen
