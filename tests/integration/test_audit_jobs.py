"""What the queue leaves in the audit log: a row for each write, and nothing of the looks that found nothing to do."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from sqlalchemy import text

from integration.test_jobs_purge import fill, purge_once
from servers.jobs import QUICK, TRY, done, enqueue, rows, working
from servers.staging import staged
from servers.waiting import until
from slipway.context.request import RequestContext, current
from slipway.jobs.kinds import Job, JobError, Kind
from slipway.jobs.worker import Pace, Worker
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.unit import Transaction


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(job_backoff=0.02, job_max_attempts=2, shutdown_timeout=0.1)


async def told(db: Database, noun: str = "jobs") -> list[tuple[str, str | None, str | None]]:
    """Action, resource and request of each row about such things, in the order in which they were begun."""
    statement = text("SELECT action, resource, request_id FROM audit WHERE action LIKE :noun ORDER BY attempt")
    found = await db.read(lambda session: session.execute(statement, {"noun": f"{noun}.%"}))
    return [tuple(row) for row in found]


async def actions(db: Database) -> list[str]:
    return [action for action, *_ in await told(db)]


async def nothing(_: Job) -> None:
    pass


async def test_a_job_that_is_done_leaves_that_it_was_taken_and_that_it_was_finished_and_in_which_request(
    settings: Settings, db: Database
) -> None:
    token = current.set(RequestContext("request-1"))
    await enqueue(db, "greet")
    current.reset(token)
    [job] = await rows(db)
    async with working(settings, db, {"greet": Kind(nothing)}, Pace(lease=3600)):
        await done(db)
    assert await told(db) == [("jobs.take", None, None), ("jobs.finish", f"jobs/{job.id}", "request-1")]


async def test_a_job_that_fails_leaves_that_it_was_put_off_and_buried(settings: Settings, db: Database) -> None:
    async def fail(_: Job) -> None:
        raise JobError("Not today.")

    async def buried() -> bool:
        return [row.dead_at is not None for row in await rows(db)] == [True]

    async with working(settings, db, {"fail": Kind(fail)}, Pace(lease=3600, look=0.2)):
        await enqueue(db, "fail")
        await until(buried)
    assert await actions(db) == ["jobs.take", "jobs.put_off", "jobs.take", "jobs.bury"]


class Looks:
    """How often workers have looked for jobs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        take = Worker._take  # noqa: SLF001 - nothing else tells of a look

        async def counted(worker: Worker) -> float:
            pause = await take(worker)
            self.count += 1
            return pause

        monkeypatch.setattr(Worker, "_take", counted)


async def test_a_worker_without_work_leaves_nothing_however_often_it_looks(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    async with working(settings, db, {"tick": Kind(nothing, every=3600)}, Pace(look=0.02)):
        await until(lambda: looks.count > 5)
        await db.unit(TRY, lambda transaction: transaction.begin())
    assert set(await actions(db)) <= {"jobs.add", "jobs.take", "jobs.finish"}
    assert (await actions(db)).count("jobs.take") <= 1
    assert len(await told(db, "tests")) == 1


async def test_without_saying_that_nothing_was_done_each_look_would_leave_a_row(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transaction, "leave_nothing", lambda _: None)
    looks = Looks(monkeypatch)
    async with working(settings, db, {"greet": Kind(nothing)}, Pace(look=0.02)):
        await until(lambda: looks.count > 5)
    assert (await actions(db)).count("jobs.take") > 5


async def test_long_jobs_leave_a_row_for_each_third_of_a_lease_all_together_and_one_that_is_given_back_one_more(
    settings: Settings, db: Database
) -> None:
    async def hang(_: Job) -> None:
        await asyncio.Event().wait()

    async def prolonged() -> bool:
        return (await actions(db)).count("jobs.prolong") >= 3

    for _ in range(3):
        await enqueue(db, "slow")
    began = monotonic()
    async with working(settings, db, {"slow": Kind(hang)}, QUICK):
        await until(prolonged)
    most = (monotonic() - began) / (QUICK.lease / 3)
    left = await actions(db)
    assert 3 <= left.count("jobs.prolong") <= most
    assert left[-1] == "jobs.give_back"


async def test_a_purge_leaves_a_row_for_each_batch_that_deleted_something_and_none_for_the_rest(
    settings: Settings, db: Database
) -> None:
    await fill(db)
    await purge_once(settings, db)
    once = {table: await told(db, table) for table in ("sessions", "exports", "audit", "login_attempts")}
    assert once == {table: [(f"{table}.purge", None, None)] for table in once}
    await purge_once(settings, db)
    assert {table: await told(db, table) for table in once} == once


async def test_what_ends_a_run_whose_lease_is_gone_changes_nothing_and_leaves_nothing(
    settings: Settings, db: Database
) -> None:
    lost = asyncio.Event()

    async def lose(_: Job) -> None:
        async with staged(db) as session:
            await session.execute(text("UPDATE jobs SET lease = gen_random_uuid()"))
        lost.set()

    async with working(settings, db, {"greet": Kind(lose)}, Pace(lease=3600)) as worker:
        await enqueue(db, "greet")
        await lost.wait()
        await worker.stop()
    assert await actions(db) == ["jobs.take"]
