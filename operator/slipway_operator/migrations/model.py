"""What a decision about a schema migration takes and gives: frozen, and free of kopf, clients and clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slipway_operator.nodes import Lost

Kind = Literal["expand", "contract"]
Approval = Literal["Never", "Destructive", "Always"]
Level = Literal["Warning", "Error"]
FailOn = Literal["Never", "Error", "Warning"]

Purpose = Literal["plan", "withdraw", "expand", "backup", "announce", "contract"]
"""What a Job is for. `withdraw` takes back a contract that another image announced and that never ran."""

Phase = Literal[
    "Planning", "AwaitingApproval", "Expanding", "RollingOut", "BackingUp", "Announcing", "Contracting", "Complete"
]


@dataclass(frozen=True, slots=True)
class Spec:
    """The wish, with durations in seconds.

    `plan_key` is a hash of all that a plan depends on: another key asks for another plan.
    """

    image: str
    workload: str
    container: str
    consumers: str
    """Label selector, as a LIST takes it."""
    secret_name: str
    plan_key: str
    command: tuple[str, ...] | None = None
    config: str | None = None
    """Path of alembic.ini in the image: plain Alembic, run by our script."""
    approval: Approval = "Never"
    approve: str | None = None
    fail_on: FailOn = "Error"
    ignore: frozenset[str] = frozenset()
    lock_timeout: float = 3.0
    statement_timeout: float = 900.0
    budget: float = 3600.0
    retries: int = 3
    backup: str | None = None
    job_annotations: tuple[tuple[str, str], ...] = ()
    history_limit: int = 10
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision that was pending when the plan was made. `sql_digest` is over its SQL; None if that can't be told."""

    id: str
    kind: Kind
    message: str = ""
    sql_digest: str | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What squawk objects to."""

    rule: str
    level: Level
    revision: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an image would do to a database as it was seen.

    `current` is empty for a database without any revision. `digest` is over image id, current revision, SQL, system
    identifier and database name. `foreign` are contracts that other images announced and nobody ran.
    """

    digest: str
    current: str
    target: str
    revisions: tuple[Revision, ...] = ()
    foreign: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    partial: bool = False
    config_map: str | None = None
    """ConfigMap with the SQL; None when there is none to show."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something doesn't go on. `lasting`: only a person, or another wish, can mend it."""

    reason: str
    message: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A Job of this resource.

    `starting`: no container of it has ever run, so it may be removed. `trouble`: of one that doesn't start, what keeps
    it; of one that runs, what it waits for; of one that failed, why. Times are seconds since the epoch.
    """

    name: str
    purpose: Purpose
    plan_key: str
    attempt: int
    state: Literal["starting", "running", "succeeded", "failed"]
    created: float
    ended: float | None = None
    trouble: Trouble | None = None
    image_id: str | None = None
    plan: Plan | None = None
    """What a plan Job that succeeded reported."""
    outdated: bool = False
    """Whether it failed, and would be made otherwise now: somebody changed the spec or the workload."""
    held_by: tuple[str, ...] = ()
    """Containers that go on although all that the Job asked for have ended, as `state` says: somebody injected them."""

    @property
    def active(self) -> bool:
        return self.state in ("starting", "running")


@dataclass(frozen=True, slots=True)
class GateSeen:
    """A pod's init containers: `waiting` to start (again), `running` since a time, `passed` (or there are none)."""

    state: Literal["waiting", "running", "passed"]
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod that uses the database and whose containers haven't all ended; terminating ones count."""

    name: str
    image_ids: frozenset[str]
    """Ids of the images of its containers, as far as they are known yet."""
    gate: GateSeen
    images: frozenset[str] = frozenset()
    """Their names, as the pod asks for them."""
    lost: Lost | None = None
    mixed: frozenset[str] = frozenset()
    """Digests of images that the pod has in several versions: one of its containers is of another release."""


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """The Deployment. `image` None: it has no such container. `rolled_out`: every replica is of the template of now."""

    wanted: int
    image: str | None
    rolled_out: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A past run."""

    to: str
    image: str
    started: float
    took: float
    result: Literal["Succeeded", "Failed", "Superseded"]
    origin: str = ""
    """Revision that it started from."""


@dataclass(frozen=True, slots=True)
class Contracted:
    """Contracts that were announced for `image`, and ran if `applied`: the image before it can't come back."""

    image: str
    revisions: tuple[str, ...]
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the status carries from one look to the next. All but `revision` and `history` belong to `plan_key`.

    `plan_key` is the spec's, with the number of the round (remember.py). `attempts`: how many Jobs of a purpose have
    failed since one of it last succeeded. `done`: purposes that succeeded. `ended`: the Job that was taken
    account of last. `announced_at`: when contracts had certainly been announced.
    """

    plan_key: str = ""
    plan: Plan | None = None
    image_id: str = ""
    revision: str = ""
    done: frozenset[Purpose] = frozenset()
    attempts: dict[Purpose, int] = field(default_factory=dict)
    ended: str = ""
    announced_at: float | None = None
    approved: str = ""
    failure: Trouble | None = None
    """Of the last Job that failed, until one of the same purpose succeeds."""
    failed_at: float | None = None
    history: tuple[Run, ...] = ()
    contracted: Contracted | None = None
    """It outlives rounds of the same image."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One fresh look at everything that counts."""

    name: str
    uid: str
    spec: Spec
    memory: Memory
    workload: WorkloadSeen | None
    pods: tuple[PodSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    spec_fault: str | None = None
    """Why the spec can't be followed; the rest then says nothing."""
    created: float = 0.0
    """The resource, in seconds since the epoch."""
    anew: bool = False
    """The memory's times may be of another clock than this look's."""


@dataclass(frozen=True, slots=True)
class CreateJob:
    purpose: Purpose
    attempt: int


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Only of a Job that never started, or whose own containers have all ended."""

    name: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people are told; kstatus's three conditions follow from `state`."""

    state: Literal["Ready", "Reconciling", "Stalled", "Suspended"]
    reason: str
    message: str
    phase: Phase
    pending: tuple[Revision, ...] = ()
    contract_pending: str = ""
    """Sentence on contracts that are still to run; empty: none."""
    rollback_unsafe: str = ""
    """Sentence on why the image before can't come back; empty: it can."""
    rollback_reason: Literal["ContractAnnounced", "ContractApplied"] = "ContractAnnounced"
    rewritten: str = ""
    """Sentence on an image that somebody put in the place of the wished one; empty: nobody did."""
    planned: bool = True
    """Whether there is a plan of this wish; without one nothing is known of what is pending."""


@dataclass(frozen=True, slots=True)
class Decision:
    """First the memory and the verdict are written, carrying the version that was read; then at most one effect.

    `look_again`: seconds until the next look if nothing wakes us before; None: nothing is awaited.
    """

    memory: Memory
    verdict: Verdict
    effect: CreateJob | DeleteJob | None = None
    look_again: float | None = None
