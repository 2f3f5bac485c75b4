"""What whoever runs a worker is told: a line of the right level for each end of a job, and counts of all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from time import monotonic

import pytest

from servers.databases import TestDatabase
from servers.jobs import done, enqueue, rows, working
from servers.told import counted, records, said
from servers.waiting import until
from slipway.jobs.kinds import Job, JobError, Kind, LeaseLostError
from slipway.jobs.worker import Pace
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.telemetry.registry import REGISTRY


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(job_backoff=0.02, job_max_attempts=2, shutdown_timeout=0.1)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "slipway.jobs"):
        yield


async def _dead(db: Database) -> bool:
    return [row.dead_at is not None for row in await rows(db)] == [True]


async def test_a_job_that_is_done_leaves_one_line_and_is_counted_with_how_long_it_took(
    settings: Settings, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    run = {"name": "greet"}

    async def wait(_: Job) -> None:
        await asyncio.sleep(0.1)

    await enqueue(db, "greet")
    began = monotonic()
    with (
        counted("slipway_jobs_total", labels={**run, "result": "done"}),
        counted("slipway_job_duration_seconds_count", labels=run),
        counted("slipway_job_duration_seconds_bucket", labels={**run, "le": "60.0"}),
    ):
        async with working(settings, db, {"greet": Kind(wait)}):
            await done(db)
    took = (monotonic() - began) * 1000
    assert said(caplog, "slipway.jobs") == [("INFO", "job done")]
    [record] = records(caplog, "slipway.jobs")
    assert (record.__dict__["job"], record.__dict__["attempt"]) == ("greet", 1)
    assert 99 <= record.__dict__["duration_ms"] <= took


@pytest.mark.parametrize(("error", "traced"), [(JobError("The mail server is away."), False), (KeyError("bug"), True)])
async def test_a_job_that_fails_is_a_warning_and_one_that_is_given_up_an_error(
    settings: Settings,
    db: Database,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    traced: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def fail(_: Job) -> None:
        raise error

    await enqueue(db, "greet")
    with (
        counted("slipway_jobs_total", labels={"name": "greet", "result": "retried"}),
        counted("slipway_jobs_total", labels={"name": "greet", "result": "dead"}),
    ):
        async with working(settings, db, {"greet": Kind(fail)}):
            await until(lambda: _dead(db))
            await until(lambda: len(records(caplog, "slipway.jobs")) == 2)
    assert said(caplog, "slipway.jobs") == [("WARNING", "job failed, will be tried again"), ("ERROR", "job given up")]
    assert [record.exc_info is not None for record in records(caplog, "slipway.jobs")] == [traced] * 2
    assert all(
        str(record.__dict__["error"]).startswith(type(error).__name__) for record in records(caplog, "slipway.jobs")
    )


async def test_a_job_whose_end_can_not_be_told_is_buried_all_the_same(
    settings: Settings, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Job) -> None:
        raise JobError("No.", final=True)

    async def given_up(_job: Job, _reason: str) -> None:
        raise KeyError("bug")

    await enqueue(db, "greet")
    async with working(settings, db, {"greet": Kind(fail, given_up)}):
        await until(lambda: _dead(db))
    assert said(caplog, "slipway.jobs")[0] == ("ERROR", "job's end couldn't be told")
    assert records(caplog, "slipway.jobs")[0].exc_info is not None
    assert records(caplog, "slipway.jobs")[0].__dict__["job"] == "greet"


async def test_jobs_that_are_given_back_are_counted_in_a_line(
    settings: Settings, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Semaphore(0)

    async def hang(_: Job) -> None:
        begun.release()
        await asyncio.Event().wait()

    for _ in range(2):
        await enqueue(db, "slow")
    async with working(settings, db, {"slow": Kind(hang)}):
        for _ in range(2):
            await asyncio.wait_for(begun.acquire(), 5)
    assert said(caplog, "slipway.jobs") == [("INFO", "running jobs were given back")]
    assert records(caplog, "slipway.jobs")[0].__dict__["count"] == 2
    assert [(row.lease, row.attempts) for row in await rows(db)] == [(None, 0)] * 2


async def test_a_job_that_went_to_another_worker_is_a_warning_and_no_end(
    settings: Settings, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def lose(_: Job) -> None:
        raise LeaseLostError

    await enqueue(db, "slow")
    with counted("slipway_job_duration_seconds_count", 0, {"name": "slow"}):
        async with working(settings, db, {"slow": Kind(lose)}, Pace(lease=3600)):
            await until(lambda: said(caplog, "slipway.jobs"))
    assert [row.attempts for row in await rows(db)] == [1], "the row is the other worker's"
    assert said(caplog, "slipway.jobs") == [("WARNING", "job went to another worker")]


async def test_each_way_in_which_the_database_is_missed_is_a_warning_of_its_own_and_counted(
    settings: Settings, db: Database, database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    def missed() -> float:
        return REGISTRY.get_sample_value("slipway_worker_database_errors_total") or 0.0

    begun, go_on = asyncio.Event(), asyncio.Event()

    async def run(_: Job) -> None:
        begun.set()
        await go_on.wait()

    kinds = {
        "can't listen for jobs",
        "jobs can't be taken",
        "leases can't be prolonged",
        "jobs can't be counted",
        "a job's end can't be written",
    }
    before = missed()
    await enqueue(db, "slow")
    async with working(settings, db, {"slow": Kind(run)}, Pace(lease=3, look=0.1)):
        await asyncio.wait_for(begun.wait(), 5)
        await asyncio.to_thread(database.server.stop, "immediate")
        try:
            await until(
                lambda: (
                    kinds - {message for _, message in said(caplog, "slipway.jobs")} == {"a job's end can't be written"}
                )
            )
            go_on.set()
            await until(lambda: kinds == {message for _, message in said(caplog, "slipway.jobs")})
        finally:
            go_on.set()
            await asyncio.to_thread(database.server.start)
        await done(db)
    missing = [record for record in records(caplog, "slipway.jobs") if record.message in kinds]
    assert {record.levelname for record in missing} == {"WARNING"}
    assert all(record.__dict__["error"] for record in missing)
    assert missed() - before == len(missing)
