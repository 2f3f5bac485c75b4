from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from servers.jobs import done, enqueue, rows, working
from servers.staging import staged
from servers.waiting import until
from slipway.jobs import queries
from slipway.jobs.kinds import Job, JobError, Kind, LeaseLostError
from slipway.jobs.listener import Listener
from slipway.jobs.models import JobRow
from slipway.jobs.worker import Pace, Worker
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.telemetry.registry import REGISTRY


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(job_backoff=0.02, job_max_attempts=3)


def count_of(name: str, result: str, registry: CollectorRegistry = REGISTRY) -> float:
    return registry.get_sample_value("slipway_jobs_total", {"name": name, "result": result}) or 0.0


def dead(db: Database) -> Callable[[], Awaitable[JobRow | None]]:
    async def look() -> JobRow | None:
        return next((row for row in await rows(db) if row.dead_at is not None), None)

    return look


async def sql(db: Database, statement: str) -> None:
    async with staged(db) as session:
        await session.execute(text(statement))


async def test_a_job_is_run_with_its_payload_and_leaves_no_row(settings: Settings, db: Database) -> None:
    ran: list[Job] = []

    async def run(job: Job) -> None:
        ran.append(job)

    async with working(settings, db, {"greet": Kind(run)}):
        await enqueue(db, "greet", {"name": "Ada"})
        await done(db)
    assert [job.payload for job in ran] == [{"name": "Ada"}]
    assert count_of("greet", "done") >= 1


async def test_a_worker_is_woken_by_the_commit_and_need_not_look(settings: Settings, db: Database) -> None:
    ran, ready = asyncio.Event(), asyncio.Event()

    async def run(job: Job) -> None:
        (ran if job.payload else ready).set()

    async with working(settings, db, {"greet": Kind(run)}, Pace(look=3600)):
        await enqueue(db, "greet")
        await asyncio.wait_for(ready.wait(), 5)
        await enqueue(db, "greet", {"again": True})
        await asyncio.wait_for(ran.wait(), 5)


async def test_without_the_notification_it_would_only_look_now_and_then(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(_: object) -> None:
        await asyncio.Event().wait()

    async def run(_: Job) -> None:
        pass

    looked, take = asyncio.Event(), Worker._take  # noqa: SLF001 - it looks once, and finds nothing

    async def tells(worker: Worker) -> float:
        pause = await take(worker)
        looked.set()
        return pause

    monkeypatch.setattr("slipway.jobs.listener.Listener.run", deaf)
    monkeypatch.setattr(Worker, "_take", tells)
    async with working(settings, db, {"greet": Kind(run)}, Pace(look=3600)):
        await asyncio.wait_for(looked.wait(), 5)
        await enqueue(db, "greet")
        with pytest.raises(AssertionError):
            await done(db, within=0.5)


async def test_a_job_that_fails_is_tried_again_and_then_lies_dead(settings: Settings, db: Database) -> None:
    tries: list[int] = []
    told: list[str] = []

    async def run(job: Job) -> None:
        tries.append(job.attempts)
        raise JobError("Not today.")

    async def given_up(_: Job, reason: str) -> None:
        told.append(reason)

    retried, buried = count_of("fail", "retried"), count_of("fail", "dead")
    async with working(settings, db, {"fail": Kind(run, given_up)}):
        await enqueue(db, "fail")
        await until(dead(db))
    [row] = await rows(db)
    assert tries == [1, 2, 3]
    assert (row.attempts, row.lease, row.last_error) == (3, None, "JobError: Not today.")
    assert told == ["JobError: Not today."]
    assert (count_of("fail", "retried"), count_of("fail", "dead")) == (retried + 2, buried + 1)


async def test_what_a_failing_job_carries_is_neither_stored_as_its_error_nor_logged(
    settings: Settings, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(_: Job) -> None:
        raise JobError("It can't be reached.")

    async with working(settings.with_changes(job_max_attempts=1), db, {"fail": Kind(run)}):
        await enqueue(db, "fail", {"link": "hunter2"})
        row = await until(dead(db))
    assert isinstance(row, JobRow)
    assert "hunter2" not in (row.last_error or "") + caplog.text + str([vars(line) for line in caplog.records])


async def test_a_failure_that_is_final_is_not_tried_again(settings: Settings, db: Database) -> None:
    async def run(_: Job) -> None:
        raise JobError("There is no such mailbox.", final=True)

    async with working(settings, db, {"fail": Kind(run)}):
        await enqueue(db, "fail")
        await until(dead(db))
    assert [row.attempts for row in await rows(db)] == [1]


async def test_a_job_that_takes_too_long_is_broken_off(settings: Settings, db: Database) -> None:
    async def run(_: Job) -> None:
        await asyncio.Event().wait()

    async with working(settings.with_changes(job_timeout=0.05, job_max_attempts=1), db, {"slow": Kind(run)}):
        await enqueue(db, "slow")
        await until(dead(db))
    assert [row.last_error for row in await rows(db)] == ["JobError: It took longer than a job may take."]


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_more_jobs_run_at_once_than_the_setting_says(settings: Settings, db: Database, limit: int) -> None:
    running, most, ran = 0, 0, 0

    async def run(_: Job) -> None:
        nonlocal running, most, ran
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        ran += 1

    for _ in range(6):
        await enqueue(db, "greet")
    async with working(settings.with_changes(worker_concurrency=limit), db, {"greet": Kind(run)}, Pace(look=3600)):
        await done(db)
    assert (most, ran) == (limit, 6)


async def test_a_job_due_later_waits_until_then_and_is_not_forgotten(settings: Settings, db: Database) -> None:
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.payload["when"])

    await enqueue(db, "greet", {"when": "later"}, run_after=timedelta(seconds=0.4))
    await enqueue(db, "greet", {"when": "now"})
    async with working(settings, db, {"greet": Kind(run)}, Pace(look=3600)):
        await done(db)
    assert ran == ["now", "later"]


async def test_jobs_of_a_newer_release_are_left_to_its_workers(settings: Settings, db: Database) -> None:
    async def run(_: Job) -> None:
        pass

    await enqueue(db, "invented_later")
    await enqueue(db, "greet")
    async with working(settings, db, {"greet": Kind(run)}):
        await until(lambda: _names(db, ["invented_later"]))
    # The first of the two was due in the same look: untouched is more than still there.
    assert [(row.attempts, row.lease) for row in await rows(db)] == [(0, None)]


async def _names(db: Database, names: list[str]) -> bool:
    return [row.name for row in await rows(db)] == names


async def test_a_job_that_was_enqueued_before_anybody_listened_is_found_once_somebody_does(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, looked = asyncio.Event(), asyncio.Event()
    listen, take = Listener._listen, Worker._take  # noqa: SLF001 - their order is what is tested

    async def run(_: Job) -> None:
        ran.set()

    async def tells(worker: Worker) -> float:
        pause = await take(worker)
        looked.set()
        return pause

    async def late(listener: Listener) -> None:
        await looked.wait()
        await enqueue(db, "greet")
        await listen(listener)

    monkeypatch.setattr(Listener, "_listen", late)
    monkeypatch.setattr(Worker, "_take", tells)
    async with working(settings, db, {"greet": Kind(run)}, Pace(look=3600)):
        await asyncio.wait_for(ran.wait(), 10)


async def test_a_long_job_keeps_its_lease_and_runs_once(settings: Settings, db: Database) -> None:
    started = await _run_longer_than_a_lease(settings, db)
    assert started == 1


async def test_a_long_job_whose_lease_is_not_prolonged_would_run_twice(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(_: Worker) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Worker, "_renew", idle)
    assert await _run_longer_than_a_lease(settings, db) > 1


async def _run_longer_than_a_lease(settings: Settings, db: Database) -> int:
    started, pace = 0, Pace(lease=2, look=0.2)

    async def run(_: Job) -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(pace.lease * 2)

    await enqueue(db, "slow")
    kinds = {"slow": Kind(run)}
    async with working(settings, db, kinds, pace), working(settings, db, kinds, pace):
        await until(lambda: _nothing_alive(db), within=15)
    return started


async def _nothing_alive(db: Database) -> bool:
    return all(row.dead_at is not None for row in await rows(db))


async def test_a_run_that_lost_its_lease_is_broken_off_and_says_nothing(settings: Settings, db: Database) -> None:
    started, broken_off = asyncio.Event(), asyncio.Event()

    async def run(_: Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            broken_off.set()
            raise

    async with working(settings, db, {"slow": Kind(run)}):
        await enqueue(db, "slow")
        await asyncio.wait_for(started.wait(), 5)
        await sql(db, "UPDATE jobs SET lease = gen_random_uuid(), run_after = now() + interval '1 hour'")
        await asyncio.wait_for(broken_off.wait(), 5)
    assert [row.attempts for row in await rows(db)] == [1]


async def test_what_a_run_writes_under_hold_is_refused_once_another_has_the_job(
    settings: Settings, db: Database
) -> None:
    failure: list[BaseException] = []

    async def run(job: Job) -> None:
        await sql(db, "UPDATE jobs SET lease = gen_random_uuid(), run_after = now() + interval '1 hour'")
        try:
            await db.unit(Action("tests", "try"), lambda transaction: queries.hold(transaction, job))
        except LeaseLostError as error:
            failure.append(error)
            raise

    async with working(settings, db, {"slow": Kind(run)}):
        await enqueue(db, "slow")
        await until(lambda: failure)
    assert [row.last_error for row in await rows(db)] == [None]


async def test_a_periodic_job_is_one_for_all_workers_and_never_meets_itself(settings: Settings, db: Database) -> None:
    running, most, ran = 0, 0, 0

    async def run(_: Job) -> None:
        nonlocal running, most, ran
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        ran += 1

    kinds = {"tick": Kind(run, every=0.05)}
    async with working(settings, db, kinds), working(settings, db, kinds):
        await until(lambda: ran >= 4)
        assert len(await rows(db)) == 1
    assert most == 1


async def test_a_periodic_job_that_fails_is_never_given_up(settings: Settings, db: Database) -> None:
    ran = 0

    async def run(_: Job) -> None:
        nonlocal ran
        ran += 1
        raise JobError("Not today.", final=True)

    async with working(settings, db, {"tick": Kind(run, every=0.05)}):
        await until(lambda: ran > settings.job_max_attempts + 1)
    assert [(row.dead_at, row.last_error) for row in await rows(db)] == [(None, "JobError: Not today.")]


async def test_waiting_and_dead_jobs_are_counted(settings: Settings, db: Database) -> None:
    async def run(_: Job) -> None:
        raise JobError("No.", final=True)

    await enqueue(db, "fail")
    await enqueue(db, "invented_later")
    async with working(settings, db, {"fail": Kind(run)}):
        await until(lambda: REGISTRY.get_sample_value("slipway_jobs_dead") == 1)
        await until(lambda: REGISTRY.get_sample_value("slipway_jobs_waiting") == 1)
        await until(lambda: 0 < (REGISTRY.get_sample_value("slipway_jobs_oldest_seconds") or 0) < 60)
