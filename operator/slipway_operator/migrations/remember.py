"""Takes what Jobs did into the memory that the status carries, each exactly once, and starts over for another wish.

A plan is worked off in a *round*: Jobs carry `Memory.plan_key`, which is the spec's plan key and the round's number.
A wish that comes back (a rollback, and forward again) is a new round, so that Jobs of its first life, which are kept
for their logs, are no evidence in its second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from slipway_operator.migrations.model import (
    Contracted,
    JobSeen,
    Memory,
    Observed,
    Plan,
    Purpose,
    Revision,
    Run,
    Spec,
    Trouble,
)

CHANGES_SCHEMA: frozenset[Purpose] = frozenset({"expand", "contract"})
PLAN_CHANGED = "PlanChanged"
"""A runner's reason: what it found isn't what was planned."""
STARTS_OVER = frozenset({PLAN_CHANGED, "AnnouncementGone"})
"""Reasons of runners for which only another round helps: what this one has seen is no evidence any more."""


def remember(observed: Observed, now: float) -> Memory:
    """The memory with every ended Job of its round in it; of a new round when nothing runs and the wish is another."""
    memory, spec = observed.memory, observed.spec
    if observed.anew and memory.announced_at is not None:
        memory = replace(memory, announced_at=now)  # what began before that, by whichever clock, isn't relied on
    for job in sorted(observed.jobs, key=lambda job: (job.ended or job.created, job.name)):
        if not unrecorded(job, memory):
            continue
        memory = _take(job, memory, spec, now)
        failure = _failure(job)
        if failure is not None and failure.reason in STARTS_OVER:
            # The count of tries goes on: a plan that changes under every run must end as Stalled, not turn forever.
            memory = _next_round(memory, observed)
    if memory.plan is not None and any(_came_late(job, memory) for job in observed.jobs):
        memory = _next_round(memory, observed)
    if (not is_of(memory, spec) or _may_be_withdrawn(memory, spec)) and not active_jobs(observed):
        memory = replace(_next_round(memory, observed), attempts={}, failure=None, failed_at=None)
    if memory.plan is not None and spec.approve == memory.plan.digest:
        memory = replace(memory, approved=memory.plan.digest)
    return memory


def active_jobs(observed: Observed) -> list[JobSeen]:
    """Jobs that haven't ended, of every round, oldest first."""
    return sorted((job for job in observed.jobs if job.active), key=lambda job: (job.created, job.name))


def _came_late(job: JobSeen, memory: Memory) -> bool:
    """Whether an earlier round's Job runs beside this one's plan, such as one whose creation got no answer in time.

    What it leaves, an announcement above all, isn't in the plan.
    """
    return job.state == "running" and job.plan_key != memory.plan_key and job.purpose not in ("plan", "backup")


def is_of(memory: Memory, spec: Spec) -> bool:
    """Whether the memory is about this wish."""
    return memory.plan_key.rpartition(".")[0] == spec.plan_key


def _may_be_withdrawn(memory: Memory, spec: Spec) -> bool:
    """While it is suspended a person may take the announcement back: what was seen since is no evidence any more."""
    return spec.suspend and "announce" in memory.done and bool(pending(memory))


def unrecorded(job: JobSeen, memory: Memory) -> bool:
    """Whether a Job of this round has ended and the memory doesn't know."""
    known = memory.plan is not None if job.purpose == "plan" else job.purpose in memory.done
    return (
        not job.active
        and job.plan_key == memory.plan_key
        and not known
        and job.attempt >= memory.attempts.get(job.purpose, 0)
    )


def pending(memory: Memory) -> tuple[Revision, ...]:
    """The revisions of the plan that weren't run yet, in order."""
    if memory.plan is None or "contract" in memory.done:
        return ()
    return held_back(memory.plan) if "expand" in memory.done else memory.plan.revisions


def held_back(plan: Plan) -> tuple[Revision, ...]:
    """What an expand leaves: from the first contract on. On an empty database nothing, as it breaks nobody there."""
    kinds = [revision.kind for revision in plan.revisions]
    return () if not plan.current or "contract" not in kinds else plan.revisions[kinds.index("contract") :]


def _next_round(memory: Memory, observed: Observed) -> Memory:
    """Forget all but what outlives a plan. The number is above any seen, also when the status was lost."""
    numbers = [_number(key) for key in (memory.plan_key, *(job.plan_key for job in observed.jobs))]
    return Memory(
        plan_key=f"{observed.spec.plan_key}.{max(numbers) + 1}",
        revision=memory.revision,
        attempts=memory.attempts,
        ended=memory.ended,
        failure=memory.failure,
        failed_at=memory.failed_at,
        history=memory.history,
        contracted=memory.contracted if memory.contracted and memory.contracted.image == observed.spec.image else None,
    )


def _number(plan_key: str) -> int:
    number = plan_key.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _take(job: JobSeen, memory: Memory, spec: Spec, now: float) -> Memory:
    reached = _reached(job, memory)
    failure = _failure(job)
    if job.purpose in CHANGES_SCHEMA:
        memory = replace(memory, history=(_run(job, memory, spec, reached), *memory.history)[: spec.history_limit])
    memory = replace(memory, ended=job.name)
    if failure is not None:
        attempts = {**memory.attempts, job.purpose: job.attempt + 1}
        return replace(memory, attempts=attempts, failure=failure, failed_at=job.ended or now)
    attempts = {purpose: count for purpose, count in memory.attempts.items() if purpose != job.purpose}
    # Tries of another purpose are left only of those that ended because the plan had changed; their pause holds on.
    failure = Trouble(PLAN_CHANGED, "What was found wasn't what had been planned.") if attempts else None
    memory = replace(memory, done=memory.done | {job.purpose}, attempts=attempts, failure=failure)
    memory = replace(memory, contracted=_contracted(job, memory, spec))
    if job.purpose == "plan" and job.plan is not None:
        return replace(memory, plan=job.plan, image_id=job.image_id or "", revision=job.plan.current)
    if job.purpose == "announce":
        return replace(memory, announced_at=now)  # not the Job's own end: our clock is later, which is the safe side
    return replace(memory, revision=reached) if job.purpose in CHANGES_SCHEMA else memory


def _contracted(job: JobSeen, memory: Memory, spec: Spec) -> Contracted | None:
    """After a Job that succeeded. A plan tells what is announced now, and what isn't there any more after a restore."""
    known = memory.contracted
    if job.purpose == "plan" and job.plan is not None and known is not None:
        left = {revision.id for revision in job.plan.revisions}
        there = tuple(revision for revision in known.revisions if revision not in left)
        return replace(known, revisions=there) if known.applied and there else None
    if job.purpose not in ("announce", "contract") or memory.plan is None or not is_of(memory, spec):
        return known
    before = known.revisions if known is not None and known.applied else ()
    now = tuple(revision.id for revision in memory.plan.revisions if revision.kind == "contract")
    applied = job.purpose == "contract" or bool(before)
    return Contracted(spec.image, tuple(dict.fromkeys(before + now)), applied)


def _failure(job: JobSeen) -> Trouble | None:
    if job.state == "failed":
        return job.trouble or Trouble("JobFailed", f"Job {job.name} failed; its log says why.")
    if job.purpose == "plan" and (job.plan is None or not job.image_id):
        return Trouble("PlanUnreadable", f"Job {job.name} ended well, but what it reported can't be read.")
    return None


def _reached(job: JobSeen, memory: Memory) -> str:
    """The last revision that a Job of this purpose brings."""
    if memory.plan is None:
        return memory.revision
    left = held_back(memory.plan) if job.purpose == "expand" else ()
    run = memory.plan.revisions[: len(memory.plan.revisions) - len(left)]
    return run[-1].id if run else memory.revision


def _run(job: JobSeen, memory: Memory, spec: Spec, reached: str) -> Run:
    wanted = is_of(memory, spec)
    result: Literal["Succeeded", "Failed", "Superseded"] = "Succeeded"
    if job.state == "failed":
        result = "Failed" if wanted else "Superseded"
    return Run(
        to=reached,
        image=spec.image if wanted else memory.image_id,  # the name of an image that isn't wanted any more is forgotten
        started=job.created,
        took=max(0.0, (job.ended or job.created) - job.created),
        result=result,
        origin=memory.revision,
    )
