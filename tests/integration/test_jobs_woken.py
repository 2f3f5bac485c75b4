"""Workers that look once an hour do at once what became due meanwhile: they are woken, not lucky."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from servers.jobs import TRY, done, enqueue, rows, working
from servers.staging import staged
from servers.waiting import until
from slipway.jobs import queries
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.worker import Pace
from slipway.settings import Settings
from slipway.storage.engine import Database

HOURLY = Pace(lease=3600, look=3600)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(shutdown_timeout=0.1, worker_concurrency=1)


class Seen:
    """Jobs that ran, each until it is let go."""

    def __init__(self, *, hang: bool = False) -> None:
        self.attempts: list[int] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        if not hang:
            self.go.set()

    async def __call__(self, job: Job) -> None:
        self.attempts.append(job.attempts)
        self.begun.set()
        await self.go.wait()


async def _listens(db: Database) -> bool:
    async with staged(db) as session:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        return bool((await session.execute(text(statement))).scalar_one())


async def test_a_job_that_is_given_back_is_done_by_another_at_once(settings: Settings, db: Database) -> None:
    slow, quick = Seen(hang=True), Seen()
    async with working(settings, db, {"greet": Kind(slow)}, HOURLY) as first:
        await enqueue(db, "greet")
        await asyncio.wait_for(slow.begun.wait(), 5)
        async with working(settings, db, {"greet": Kind(quick)}, HOURLY):
            await until(lambda: _listens(db))
            await asyncio.sleep(0)
            await first.stop()
            await asyncio.wait_for(quick.begun.wait(), 10)
            await done(db)
    assert quick.attempts == [1], "the run that was broken off is no attempt"


async def test_a_dead_letter_that_is_put_back_is_done_at_once_with_all_its_attempts(
    settings: Settings, db: Database
) -> None:
    ran = Seen()
    await enqueue(db, "greet")
    async with staged(db) as session:
        await session.execute(text("UPDATE jobs SET dead_at = now(), attempts = 8"))
    async with working(settings, db, {"greet": Kind(ran)}, HOURLY):
        await until(lambda: _listens(db))
        assert len(await db.unit(TRY, lambda transaction: queries.revive(transaction, None))) == 1
        await asyncio.wait_for(ran.begun.wait(), 10)
        await done(db)
    assert ran.attempts == [1]


async def test_a_worker_whose_hands_were_full_takes_the_next_job_when_one_is_free(
    settings: Settings, db: Database
) -> None:
    ran = Seen(hang=True)
    for _ in range(2):
        await enqueue(db, "greet")
    async with working(settings.with_changes(shutdown_timeout=10), db, {"greet": Kind(ran)}, HOURLY):
        await asyncio.wait_for(ran.begun.wait(), 5)
        assert len(await rows(db)) == 2
        ran.go.set()
        await done(db)
    assert ran.attempts == [1, 1]
