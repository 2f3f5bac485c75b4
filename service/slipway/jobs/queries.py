"""SQL about jobs. Statements that end or prolong a run name its lease, so that a run that lost it changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, bindparam, case, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement

from slipway.jobs.kinds import Job, LeaseLostError
from slipway.jobs.models import LIVE_DEDUPE_KEY, JobRow
from slipway.jobs.queue import CHANNEL
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

COUNTED_UP_TO = 10_000
"""Where counting stops, so that looking at a long queue costs no more than at a short one."""

# MATERIALIZED: the rows are locked once, however the planner joins them.
_TAKE = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE dead_at IS NULL AND run_after <= now() AND name = ANY(:names)
        ORDER BY run_after, id
        LIMIT :wanted
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs
    SET lease = gen_random_uuid(), attempts = attempts + 1, run_after = now() + CAST(:lasting AS interval)
    FROM due
    WHERE jobs.id = due.id
    RETURNING jobs.id, name, payload, context, attempts, lease, created_at
""")


async def take(session: AsyncSession, names: Collection[str], wanted: int, lasting: timedelta) -> list[Job]:
    """Lease up to `wanted` due jobs, longest due first: new ones, retries, and those whose worker's lease ran out."""
    rows = await session.execute(_TAKE, {"names": list(names), "wanted": wanted, "lasting": lasting})
    return [Job(**row) for row in rows.mappings()]


async def until_due(session: AsyncSession, names: Collection[str]) -> timedelta | None:
    """How long until the next job is due; negative when one is overdue, None when there is none."""
    due: timedelta | None = await session.scalar(
        select(JobRow.run_after - func.clock_timestamp())
        .where(JobRow.dead_at.is_(None), JobRow.name.in_(names))
        .order_by(JobRow.run_after)
        .limit(1)
    )
    return due


async def renew(session: AsyncSession, leases: Collection[UUID], lasting: timedelta) -> set[UUID]:
    """Prolong leases; returns those still held."""
    statement = update(JobRow).where(JobRow.lease.in_(leases)).values(run_after=func.now() + lasting)
    return {lease for lease in await session.scalars(statement.returning(JobRow.lease)) if lease is not None}


_HOLD = Statement(
    select(JobRow.id)
    .where(JobRow.id == bindparam("job_id"), JobRow.lease == bindparam("lease"))
    .with_for_update(read=True)
)


async def hold(transaction: Transaction, job: Job) -> None:
    """Keep the lease for the rest of this transaction. Raises LeaseLostError when another worker may have the job."""
    if await transaction.row(_HOLD, job_id=job.id, lease=job.lease) is None:
        raise LeaseLostError


async def finish(session: AsyncSession, job: Job) -> None:
    await session.execute(delete(JobRow).where(JobRow.id == job.id, JobRow.lease == job.lease))


async def again(session: AsyncSession, job: Job, delay: timedelta, error: str | None) -> None:
    """Let the job come due after `delay`: after a failure with its `error`, or as the next turn of a periodic one."""
    values: dict[str, object] = {"lease": None, "run_after": func.now() + delay, "last_error": error}
    if error is None:
        values["attempts"] = 0
    await session.execute(update(JobRow).where(JobRow.id == job.id, JobRow.lease == job.lease).values(values))


async def bury(session: AsyncSession, job: Job, error: str) -> None:
    """Make the job a dead letter."""
    await session.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.lease == job.lease)
        .values(lease=None, last_error=error, dead_at=func.now())
    )


async def give_back(session: AsyncSession, leases: Collection[UUID]) -> None:
    """Let other workers have these jobs at once; the runs that were broken off don't count as attempts."""
    await session.execute(
        update(JobRow)
        .where(JobRow.lease.in_(leases))
        .values(lease=None, attempts=JobRow.attempts - 1, run_after=func.now())
    )
    await _wake(session)


async def ensure(session: AsyncSession, name: str, delay: timedelta) -> None:
    """See that the one row of a periodic job is there."""
    await session.execute(
        insert(JobRow)
        .values(name=name, payload={}, dedupe_key=f"periodic:{name}", run_after=func.now() + delay)
        .on_conflict_do_nothing(index_elements=[JobRow.dedupe_key], index_where=LIVE_DEDUPE_KEY)
    )


async def count(session: AsyncSession) -> tuple[int, int]:
    """How many jobs are due and wait for a worker, and how many are dead; each counted up to COUNTED_UP_TO."""

    async def counted(*conditions: ColumnElement[bool]) -> int:
        some = select(JobRow.id).where(*conditions).limit(COUNTED_UP_TO).subquery()
        return (await session.execute(select(func.count()).select_from(some))).scalar_one()

    waiting = await counted(JobRow.dead_at.is_(None), JobRow.run_after <= func.now())
    return waiting, await counted(JobRow.dead_at.is_not(None))


@dataclass(frozen=True, slots=True)
class Listed:
    """What people see of a job: never its payload, which may hold a secret."""

    id: int
    name: str
    state: str
    attempts: int
    age: timedelta
    last_error: str | None


async def listed(session: AsyncSession, *, dead: bool, limit: int) -> list[Listed]:
    """The oldest jobs, or dead letters, first."""
    running = and_(JobRow.lease.is_not(None), JobRow.run_after > func.now())
    state = case((JobRow.dead_at.is_not(None), "dead"), (running, "running"), else_="waiting")
    columns = (JobRow.id, JobRow.name, state, JobRow.attempts, func.now() - JobRow.created_at, JobRow.last_error)
    statement = select(*columns).order_by(JobRow.id).limit(limit)
    if dead:
        statement = statement.where(JobRow.dead_at.is_not(None))
    return [Listed(*row) for row in await session.execute(statement)]


async def revive(session: AsyncSession, ids: Sequence[int] | None) -> list[int]:
    """Put dead letters back, all when `ids` is None, and return their ids.

    One whose dedupe key a live job has taken meanwhile stays dead, and so do all but the first of equal keys.
    """
    other = aliased(JobRow)
    taken = select(other.id).where(
        other.dedupe_key == JobRow.dedupe_key,
        or_(other.dead_at.is_(None), other.id < JobRow.id),
    )
    statement = (
        update(JobRow)
        .where(JobRow.dead_at.is_not(None), ~taken.exists())
        .values(dead_at=None, attempts=0, run_after=func.now())
        .returning(JobRow.id)
    )
    if ids is not None:
        statement = statement.where(JobRow.id.in_(ids))
    revived = sorted(await session.scalars(statement))
    await _wake(session)
    return revived


async def drop(session: AsyncSession, job_id: int) -> bool:
    """Delete a job that doesn't run; whether there was one."""
    idle = or_(JobRow.lease.is_(None), JobRow.run_after < func.now())
    statement = delete(JobRow).where(JobRow.id == job_id, idle).returning(JobRow.id)
    return await session.scalar(statement) is not None


async def _wake(session: AsyncSession) -> None:
    await session.execute(select(func.pg_notify(CHANNEL, "")))
