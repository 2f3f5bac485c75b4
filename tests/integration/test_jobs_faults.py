"""Workers that die, that are told to stop, and that lose their database."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from servers.databases import APP, PASSWORD, TestDatabase, superuser_sql
from servers.jobs import QUICK, done, enqueue, rows, working
from servers.staging import staged
from servers.waiting import until
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.listener import Listener
from slipway.jobs.worker import Pace, Worker
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import Login
from slipway.telemetry.registry import REGISTRY

DOOMED = """
import asyncio, sys
from slipway.jobs.kinds import Kind
from slipway.jobs.worker import Pace, Worker
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import Login

async def hang(job):
    print("started", flush=True)
    await asyncio.Event().wait()

async def main():
    database = Database(Settings(), Login.from_url(sys.argv[1]))
    await Worker(Settings(), database, {"slow": Kind(hang)}, Pace(lease=1.0)).run()

asyncio.run(main())
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(job_backoff=0.02, job_max_attempts=3, shutdown_timeout=0.3)


async def nothing(_: Job) -> None:
    pass


def start_doomed_worker(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DOOMED, url], stdout=subprocess.PIPE, cwd=Path(__file__).parent)


async def kill_while_it_works(url: str) -> None:
    process = start_doomed_worker(url)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"started\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        assert process.stdout is not None
        process.stdout.close()


async def test_the_job_of_a_killed_worker_is_done_by_another(
    settings: Settings, db: Database, database: TestDatabase
) -> None:
    attempts: list[int] = []

    async def run(job: Job) -> None:
        attempts.append(job.attempts)

    await enqueue(db, "slow")
    await kill_while_it_works(database.url_app)
    assert [row.attempts for row in await rows(db)] == [1]
    async with working(settings, db, {"slow": Kind(run)}):
        await done(db)
    assert attempts == [2]


async def test_a_job_that_ends_its_workers_is_not_tried_for_ever(settings: Settings, db: Database) -> None:
    ran, told = [], []

    async def run(job: Job) -> None:
        ran.append(job)

    async def given_up(_: Job, reason: str) -> None:
        told.append(reason)

    await enqueue(db, "slow")
    async with staged(db) as session:
        # As a third worker that died leaves it.
        await session.execute(text("UPDATE jobs SET attempts = 3, lease = gen_random_uuid(), run_after = now()"))
    async with working(settings, db, {"slow": Kind(run, given_up)}):
        await until(lambda: told)
        await until(lambda: _buried(db))
    assert (ran, told) == ([], ["JobError: Its worker ended before the job did, each time."])


async def _buried(db: Database) -> bool:
    return [row.dead_at is not None for row in await rows(db)] == [True]


async def test_a_worker_that_stops_lets_running_jobs_end(settings: Settings, db: Database) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def run(_: Job) -> None:
        started.set()
        await go_on.wait()

    async with working(settings.with_changes(shutdown_timeout=30), db, {"slow": Kind(run)}) as worker:
        await enqueue(db, "slow")
        await asyncio.wait_for(started.wait(), 5)
        await enqueue(db, "slow")
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(stopping, 5)
    assert len(await rows(db)) <= 1


async def test_a_job_that_does_not_end_in_time_is_given_back_untried(settings: Settings, db: Database) -> None:
    started = asyncio.Event()

    async def hang(_: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    async with working(settings, db, {"slow": Kind(hang)}, Pace(lease=3600)) as worker:
        await enqueue(db, "slow")
        await asyncio.wait_for(started.wait(), 5)
        await worker.stop()
        [row] = await rows(db)
    assert (row.lease, row.attempts) == (None, 0)
    async with working(settings, db, {"slow": Kind(nothing)}):
        await done(db)


async def test_a_job_that_is_not_given_back_would_wait_for_its_lease_to_end(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def hang(_: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    async def keep(worker: Worker) -> None:
        for task in worker._running.values():  # noqa: SLF001 - what the guard does, without giving back
            task.cancel()

    monkeypatch.setattr(Worker, "_give_back", keep)
    async with working(settings, db, {"slow": Kind(hang)}, Pace(lease=3600)) as worker:
        await enqueue(db, "slow")
        await asyncio.wait_for(started.wait(), 5)
        await worker.stop()
    async with working(settings, db, {"slow": Kind(nothing)}):
        with pytest.raises(AssertionError):
            await done(db, within=0.5)


def errors_counted() -> float:
    return REGISTRY.get_sample_value("slipway_worker_database_errors_total") or 0.0


async def test_a_worker_outlives_its_database(settings: Settings, db: Database, database: TestDatabase) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    ran = 0

    async def run(_: Job) -> None:
        nonlocal ran
        started.set()
        await go_on.wait()
        ran += 1

    before = errors_counted()
    async with working(settings, db, {"slow": Kind(run)}, Pace(lease=10, look=0.2)):
        await enqueue(db, "slow")
        await asyncio.wait_for(started.wait(), 5)
        await asyncio.to_thread(database.server.stop, "immediate")
        try:
            go_on.set()
            await until(lambda: ran == 1 and errors_counted() > before)
        finally:
            await asyncio.to_thread(database.server.start)
        # The end of the job that ran meanwhile is written after all: it doesn't run again.
        await done(db)
        await enqueue(db, "slow")
        await done(db)
    assert ran == 2


async def test_a_worker_listens_again_when_its_connection_is_lost(
    settings: Settings, db: Database, database: TestDatabase
) -> None:
    async with working(settings, db, {"greet": Kind(nothing)}, Pace(look=3600)):
        first = await until(lambda: listening(database))
        await superuser_sql(database.server, f"SELECT pg_terminate_backend({first})")
        await until(lambda: _listens_anew(database, first))
        await enqueue(db, "greet")
        await done(db)


async def listening(database: TestDatabase) -> object:
    """The process id of the server's side of the LISTEN connection."""
    statement = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    return await asked(database, statement)


async def asked(database: TestDatabase, statement: str, *values: object) -> object:
    """The one value that a superuser, who sees every connection, is told."""
    connection = await asyncpg.connect(database.url_superuser, timeout=10)
    try:
        found: object = await connection.fetchval(statement, *values)
        return found
    finally:
        await connection.close()


async def _listens_anew(database: TestDatabase, before: object) -> bool:
    return await listening(database) not in {None, before}


@pytest.fixture
async def other_login(database: TestDatabase) -> Login:
    """The role that takes turns with the first one, as the operator makes it."""
    role = f"{database.name}_b"
    await superuser_sql(
        database.server,
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE {APP}",
        f"ALTER ROLE {role} SET role = '{APP}'",
    )
    return Login.from_url(database.server.url(database.name, role))


async def test_no_connection_of_the_old_login_is_kept_when_it_changes(
    settings: Settings, db: Database, database: TestDatabase, other_login: Login
) -> None:
    async with working(settings, db, {"greet": Kind(nothing)}, Pace(look=3600)):
        await until(lambda: listening(database))
        await db.change_login(other_login)
        await until(lambda: _only(database, other_login.username))
        await until(lambda: listening(database))
        await enqueue(db, "greet")
        await done(db)


async def test_a_listener_that_does_not_notice_would_keep_the_old_login(
    settings: Settings, db: Database, database: TestDatabase, other_login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listener, "_has_old_login", lambda *_: False)
    async with working(settings, db, {"greet": Kind(nothing)}, QUICK):
        await until(lambda: listening(database))
        await db.change_login(other_login)
        with pytest.raises(AssertionError):
            await until(lambda: _only(database, other_login.username), within=1)


async def _only(database: TestDatabase, role: str) -> bool:
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slipway'"
        " AND datname = current_database() AND usename <> $1"
    )
    return await asked(database, statement, role) == 0
