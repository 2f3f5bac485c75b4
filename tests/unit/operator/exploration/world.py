"""A small world around the operator: what it is made of, and how the operator sees it.

Two releases. Release 0 needs revision `e0`, which the database has. Release 1 brings `e1` (expand) and `c2` (contract,
which breaks release 0). Stages of a pod: `waiting` to start its gate, `gate` running, `passing` (it has read the ledger
and is about to start its main container), `main` running, `ending` (main still runs).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from slipway_operator.migrations.model import (
    Approval,
    GateSeen,
    JobSeen,
    Memory,
    Observed,
    Plan,
    PodSeen,
    Purpose,
    Revision,
    Spec,
    WorkloadSeen,
)

WANTED = 3
"""Replicas of the Deployment."""

MOST_PODS = 4
"""One may be ending beside them."""

Stage = Literal["waiting", "gate", "passing", "main", "ending"]
LIVING: frozenset[Stage] = frozenset({"passing", "main", "ending"})
EARLY, ANNOUNCED, LATE, LATER = 1.0, 1_000.0, 10_000.0, 2_000.0
"""The clock, reduced to what is compared: gates that began before and after `ANNOUNCED`, and the looks after it."""


class Pod(NamedTuple):
    """`late`: its gate began after the announcement was recorded."""

    image: int
    stage: Stage
    late: bool = False


class Job(NamedTuple):
    """`committed` runs on, though its work is in the database. `found`: what a plan read there (e1, c2)."""

    key: str
    purpose: Purpose
    attempt: int
    state: Literal["starting", "running", "committed", "succeeded", "failed"] = "starting"
    found: tuple[bool, int] | None = None

    @property
    def active(self) -> bool:
        return self.state not in ("succeeded", "failed")


class Step(NamedTuple):
    """Where the operator is: `idle`, pods `listed`, `decided` (nothing written yet), `written` (no effect yet).

    `fresh`: nobody else has written the resource since it was read. `rolled_out`: whether the Deployment was when it
    decided.
    """

    at: Literal["idle", "listed", "decided", "written"] = "idle"
    pods: tuple[Pod, ...] = ()
    memory: int = 0
    effect: tuple[str, ...] | None = None
    fresh: bool = True
    rolled_out: bool = False


class World(NamedTuple):
    """Everything at one moment. `c2`: 0 not there, 1 announced, 2 applied. `memory`: number of what the status says.
    `left`: how many more disturbances there may be.
    """

    wish: int
    template: int
    approve: str | None
    pods: tuple[Pod, ...]
    e1: bool
    c2: int
    jobs: tuple[Job, ...]
    memory: int
    step: Step
    left: int


def rolled_out(world: World) -> bool:
    """As a Deployment's status says it: pods that are ending don't count there."""
    counted = [pod for pod in world.pods if pod.stage != "ending"]
    return len(counted) == WANTED and all(pod.image == world.template and pod.stage == "main" for pod in counted)


def plan_of(image: int, database: tuple[bool, int]) -> Plan:
    """What `plan` of that image says about a database with these (e1, c2)."""
    e1, c2 = database
    digest = f"plan of {image} on {int(e1)}{c2}"
    current = "c2" if c2 == 2 else "e1" if e1 else "e0"
    if image == 0:
        return Plan(digest, current, "e0", foreign=("c2",) if c2 == 1 else ())
    revisions = (Revision("e1", "expand"), Revision("c2", "contract", announced=c2 == 1))
    return Plan(digest, current, "c2", {"e0": revisions, "e1": revisions[1:], "c2": ()}[current])


def image_of(key: str) -> int:
    """The image that Jobs with this key run."""
    return int(key.partition(".")[0].removeprefix("wish"))


def observe(world: World, pods: tuple[Pod, ...], memory: Memory, approval: Approval, backup: str | None) -> Observed:
    """One look; `pods` were listed at its beginning, perhaps a while ago."""
    return Observed(
        name="app",
        uid="0",
        spec=Spec(
            image=f"app:{world.wish}",
            workload="app",
            container="app",
            consumers="app=app",
            secret_name="login",
            plan_key=f"wish{world.wish}",
            approval=approval,
            approve=world.approve,
            backup=backup,
            history_limit=0,
        ),
        memory=memory,
        workload=WorkloadSeen(WANTED, f"app:{world.template}", rolled_out(world)),
        pods=tuple(_pod_seen(number, pod) for number, pod in enumerate(pods)),
        jobs=tuple(_job_seen(job) for job in world.jobs),
    )


def _pod_seen(number: int, pod: Pod) -> PodSeen:
    ids = frozenset[str]() if pod.stage == "waiting" else frozenset({f"id{pod.image}"})
    since = LATE if pod.late else EARLY
    if pod.stage == "waiting":
        return PodSeen(f"pod-{number}", ids, GateSeen("waiting"))
    return PodSeen(f"pod-{number}", ids, GateSeen("running", since) if pod.stage in ("gate", "passing") else PASSED)


PASSED = GateSeen("passed")


def _job_seen(job: Job) -> JobSeen:
    state = "running" if job.state == "committed" else job.state
    image = image_of(job.key)
    plan = plan_of(image, job.found) if job.found is not None and job.state == "succeeded" else None
    name = f"{job.key}-{job.purpose}-{job.attempt}"
    ended = None if job.active else EARLY
    return JobSeen(name, job.purpose, job.key, job.attempt, state, EARLY, ended, image_id=f"id{image}", plan=plan)
