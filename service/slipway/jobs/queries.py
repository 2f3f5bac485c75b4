"""SQL about jobs. Statements that end or prolong a run name its lease, so that a run that lost it changes nothing.

What writes says whether, or what, it changed; nothing is falsy, for `write`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Interval,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement

from slipway.jobs.kinds import Job, LeaseLostError
from slipway.jobs.models import LIVE_DEDUPE_KEY, JobRow
from slipway.jobs.queue import CHANNEL
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

T = TypeVar("T")

COUNTED_UP_TO = 10_000
"""Where counting stops, so that looking at a long queue costs no more than at a short one."""


async def write(
    database: Database, verb: str, statements: Callable[[Transaction], Awaitable[T]], *, job_id: int | None = None
) -> T:
    """One of the writes below, told as `jobs.<verb>`; one that changed nothing leaves nothing, however often it is."""

    async def work(transaction: Transaction) -> T:
        transaction.entry.resource = job_id
        changed = await statements(transaction)
        if not changed:
            transaction.leave_nothing()
        return changed

    return await database.unit(Action("jobs", verb), work)


# MATERIALIZED: the rows are locked once, however the planner joins them.
_TAKE = Statement(
    text("""
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
)


async def take(transaction: Transaction, names: Collection[str], wanted: int, lasting: timedelta) -> list[Job]:
    """Lease up to `wanted` due jobs, longest due first: new ones, retries, and those whose worker's lease ran out."""
    rows = await transaction.rows(_TAKE, names=list(names), wanted=wanted, lasting=lasting)
    return [Job(**row) for row in rows]


async def until_due(session: AsyncSession, names: Collection[str]) -> timedelta | None:
    """How long until the next job is due; negative when one is overdue, None when there is none."""
    due: timedelta | None = await session.scalar(
        select(JobRow.run_after - func.clock_timestamp())
        .where(JobRow.dead_at.is_(None), JobRow.name.in_(names))
        .order_by(JobRow.run_after)
        .limit(1)
    )
    return due


_LEASES = JobRow.lease == func.any(bindparam("leases", type_=ARRAY(Uuid)))
_RENEW = Statement(
    update(JobRow)
    .where(_LEASES)
    .values(run_after=func.now() + bindparam("lasting", type_=Interval))
    .returning(JobRow.lease)
)


async def renew(transaction: Transaction, leases: Collection[UUID], lasting: timedelta) -> set[UUID]:
    """Prolong leases; returns those still held."""
    return {row.lease for row in await transaction.rows(_RENEW, leases=list(leases), lasting=lasting)}


_HOLD = Statement(
    select(JobRow.id)
    .where(JobRow.id == bindparam("job_id"), JobRow.lease == bindparam("lease"))
    .with_for_update(read=True)
)


async def hold(transaction: Transaction, job: Job) -> None:
    """Keep the lease for the rest of this transaction. Raises LeaseLostError when another worker may have the job."""
    if await transaction.row(_HOLD, job_id=job.id, lease=job.lease) is None:
        raise LeaseLostError


_HELD = and_(JobRow.id == bindparam("job_id"), JobRow.lease == bindparam("held"))
_FINISH = Statement(delete(JobRow).where(_HELD).returning(JobRow.id))
_AFTER = func.now() + bindparam("delay", type_=Interval)
_ERROR = bindparam("error", type_=Text)
_AGAIN = Statement(
    update(JobRow)
    .where(_HELD)
    .values(
        lease=null(), run_after=_AFTER, last_error=_ERROR, attempts=case((_ERROR.is_(None), 0), else_=JobRow.attempts)
    )
    .returning(JobRow.id)
)
_BURY = Statement(
    update(JobRow).where(_HELD).values(lease=null(), last_error=_ERROR, dead_at=func.now()).returning(JobRow.id)
)


async def finish(transaction: Transaction, job: Job) -> bool:
    """It is done."""
    return await transaction.row(_FINISH, job_id=job.id, held=job.lease) is not None


async def again(transaction: Transaction, job: Job, delay: timedelta, error: str | None) -> bool:
    """Let the job come due after `delay`: after a failure with its `error`, or as the next turn of a periodic one."""
    values = {"job_id": job.id, "held": job.lease, "delay": delay, "error": error}
    return await transaction.row(_AGAIN, **values) is not None


async def bury(transaction: Transaction, job: Job, error: str) -> bool:
    """Make the job a dead letter."""
    return await transaction.row(_BURY, job_id=job.id, held=job.lease, error=error) is not None


_GIVE_BACK = Statement(
    update(JobRow)
    .where(_LEASES)
    .values(lease=null(), attempts=JobRow.attempts - 1, run_after=func.now())
    .returning(JobRow.id)
)
_WAKE = Statement(select(func.pg_notify(CHANNEL, "")))


async def give_back(transaction: Transaction, leases: Collection[UUID]) -> bool:
    """Let other workers have these jobs at once; the runs that were broken off don't count as attempts."""
    given = await transaction.rows(_GIVE_BACK, leases=list(leases))
    await transaction.row(_WAKE)
    return bool(given)


_ENSURE = Statement(
    insert(JobRow)
    .values(
        name=bindparam("name"),
        payload=literal_column("'{}'::jsonb"),
        dedupe_key=bindparam("dedupe_key", type_=Text),
        run_after=_AFTER,
    )
    .on_conflict_do_nothing(index_elements=[JobRow.dedupe_key], index_where=LIVE_DEDUPE_KEY)
    .returning(JobRow.id)
)


async def ensure(transaction: Transaction, name: str, delay: timedelta) -> bool:
    """See that the one row of a periodic job is there."""
    return await transaction.row(_ENSURE, name=name, dedupe_key=f"periodic:{name}", delay=delay) is not None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many jobs are due and wait for a worker, for how long the oldest has, and how many are dead.

    Numbers end at COUNTED_UP_TO.
    """

    waiting: int
    oldest: timedelta
    dead: int


async def count(session: AsyncSession) -> Counted:
    """Look at the queue."""

    async def counted(*conditions: ColumnElement[bool]) -> int:
        some = select(JobRow.id).where(*conditions).limit(COUNTED_UP_TO).subquery()
        return (await session.execute(select(func.count()).select_from(some))).scalar_one()

    due = (JobRow.dead_at.is_(None), JobRow.run_after <= func.now())
    oldest: timedelta | None = await session.scalar(
        select(func.clock_timestamp() - JobRow.run_after).where(*due).order_by(JobRow.run_after).limit(1)
    )
    return Counted(await counted(*due), oldest or timedelta(0), await counted(JobRow.dead_at.is_not(None)))


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


_OTHER = aliased(JobRow)
_REVIVED = (
    update(JobRow)
    .where(
        JobRow.dead_at.is_not(None),
        ~exists().where(_OTHER.dedupe_key == JobRow.dedupe_key, or_(_OTHER.dead_at.is_(None), _OTHER.id < JobRow.id)),
    )
    .values(dead_at=null(), attempts=0, run_after=func.now())
    .returning(JobRow.id)
)
_REVIVE_ALL = Statement(_REVIVED)
_REVIVE = Statement(_REVIVED.where(JobRow.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))))


async def revive(transaction: Transaction, ids: Sequence[int] | None) -> list[int]:
    """Put dead letters back, all when `ids` is None, and return their ids.

    One whose dedupe key a live job has taken meanwhile stays dead, and so do all but the first of equal keys.
    """
    found = await (transaction.rows(_REVIVE_ALL) if ids is None else transaction.rows(_REVIVE, ids=list(ids)))
    await transaction.row(_WAKE)
    return sorted(row.id for row in found)


_DROP = Statement(
    delete(JobRow)
    .where(JobRow.id == bindparam("job_id"), or_(JobRow.lease.is_(None), JobRow.run_after < func.now()))
    .returning(JobRow.id)
)


async def drop(transaction: Transaction, job_id: int) -> bool:
    """Delete a job that doesn't run; whether there was one."""
    return await transaction.row(_DROP, job_id=job_id) is not None
