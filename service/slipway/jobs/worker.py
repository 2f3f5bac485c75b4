"""Doing jobs: take what is due, run a bounded number at once, say how each ended, lose none.

Failure policy: a run holds its job by a lease that is prolonged while it works. A worker that dies, or can't reach the
database for longer than the lease, leaves a job that comes due again; so a job may run twice, never not at all. While
the database is away the worker asks again with growing pauses, and counts that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeVar
from uuid import UUID

from slipway.jobs import queries
from slipway.jobs.away import DATABASE_AWAY, pauses
from slipway.jobs.kinds import Job, JobError, Kind, LeaseLostError
from slipway.jobs.listener import Listener
from slipway.jobs.metrics import DATABASE_ERRORS, DEAD, DURATION, JOBS, OLDEST, WAITING
from slipway.jobs.outcomes import Outcome, Retries, outcome
from slipway.jobs.tracing import job_context
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.unit import Transaction

T = TypeVar("T")

log = logging.getLogger("slipway.jobs")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker holds its jobs and finds others."""

    lease: float = 30.0
    """Seconds that a lease lasts; it is prolonged when a third of them is over."""
    look: float = 5.0
    """Seconds between looks without being woken."""


class Worker:
    """One process's worker. `kinds` names every job it can do; it leaves others to workers of a newer release."""

    def __init__(
        self, settings: Settings, database: Database, kinds: Mapping[str, Kind], pace: Pace | None = None
    ) -> None:
        self._settings = settings
        self._database = database
        self._kinds = kinds
        self._pace = pace or Pace()
        self._lasting = timedelta(seconds=self._pace.lease)
        self._retries = Retries(settings.job_max_attempts, settings.job_backoff)
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._working: dict[UUID, float] = {}
        """By lease, when it was taken or prolonged."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._stopped.set()

    async def stop(self) -> None:
        """Take no more jobs; returns when `run` does: the running jobs ended, or were given back."""
        self._stopping = True
        self._wake.set()
        await self._stopped.wait()

    async def run(self) -> None:
        """Work until `stop`, then for `shutdown_timeout` at most. Cancelling it gives running jobs back at once."""
        self._stopped.clear()
        try:
            async with asyncio.TaskGroup() as group:
                listening = Listener(self._database, self._wake.set).run()
                aside = [group.create_task(work) for work in (listening, self._renew(), self._look_after())]
                await self._take_until_stopped()
                if self._running:
                    await asyncio.wait(self._running.values(), timeout=self._settings.shutdown_timeout)
                for task in aside:
                    task.cancel()
        finally:
            await self._give_back()
            self._stopped.set()

    async def _take_until_stopped(self) -> None:
        waits = pauses()
        while not self._stopping:
            self._wake.clear()
            try:
                pause = await self._take()
                waits = pauses()
            except DATABASE_AWAY as error:
                _count_away(error, "jobs can't be taken")
                pause = next(waits)
            if self._stopping:
                return
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue

    async def _take(self) -> float:
        """Start what is due and has room; returns the seconds after which to look again."""
        look = self._pace.look * random.uniform(0.8, 1.2)  # noqa: S311 - spreads workers
        room = self._settings.worker_concurrency - len(self._running)
        if room <= 0:
            return look
        jobs = await self._write("take", lambda tx: queries.take(tx, self._kinds, room, self._lasting))
        for job in jobs:
            self._start(job)
        if len(jobs) == room:
            return look
        due = await self._database.read(lambda session: queries.until_due(session, self._kinds))
        # Overdue now means that others hold its row for a moment.
        return look if due is None else min(look, max(0.05, due.total_seconds()))

    def _start(self, job: Job) -> None:
        task = asyncio.create_task(self._run(job), name=f"job {job.id}")
        self._running[job.lease] = task
        self._working[job.lease] = monotonic()
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        self._running.pop(job.lease, None)
        self._working.pop(job.lease, None)
        self._wake.set()

    async def _run(self, job: Job) -> None:
        kind = self._kinds[job.name]
        with job_context(job):
            started = monotonic()
            error = await self._attempt(kind, job)
            took = monotonic() - started
            # What is left of the lease is enough to say how it ended; prolonging it now would race with that.
            self._working.pop(job.lease, None)
            if isinstance(error, LeaseLostError):
                log.warning("job went to another worker", extra=_fields(job, took))
                return
            end = outcome(error, job.attempts, kind.every, self._retries, random.random())  # noqa: S311 - jitter
            if end.result == "dead":
                await self._give_up(kind, job, end)
            await self._settle(job, end)
            DURATION.labels(job.name).observe(took)
            JOBS.labels(job.name, end.result).inc()
            _log_end(job, end, error, took)

    async def _attempt(self, kind: Kind, job: Job) -> Exception | None:
        if kind.every is None and job.attempts > self._settings.job_max_attempts:
            return JobError("Its worker ended before the job did, each time.", final=True)
        try:
            async with asyncio.timeout(self._settings.job_timeout) as limit:
                await kind.run(job)
        except TimeoutError as error:
            return JobError("It took longer than a job may take.") if limit.expired() else error
        except Exception as error:  # noqa: BLE001 - whatever a job raises decides about that job alone
            return error
        return None

    async def _give_up(self, kind: Kind, job: Job, end: Outcome) -> None:
        if kind.given_up is None:
            return
        try:
            async with asyncio.timeout(self._settings.request_deadline):
                await kind.given_up(job, end.error or "")
        except Exception:
            # Any job's own code may run here; whatever it raises, the job must still be buried.
            log.exception("job's end couldn't be told", extra=_fields(job, 0))

    async def _settle(self, job: Job, end: Outcome) -> None:
        """Write how the job ended, trying as long as the lease may last; after that it comes due again anyway."""

        def ended(transaction: Transaction) -> Awaitable[bool]:
            if end.result == "dead":
                return queries.bury(transaction, job, end.error or "")
            if end.delay is not None:
                return queries.again(transaction, job, end.delay, end.error)
            return queries.finish(transaction, job)

        verb = "bury" if end.result == "dead" else "finish" if end.error is None else "put_off"
        until = monotonic() + self._pace.lease
        for pause in pauses():
            try:
                await self._write(verb, ended, job_id=job.id)
            except DATABASE_AWAY as error:
                _count_away(error, "a job's end can't be written")
            else:
                return
            if monotonic() + pause > until:
                return
            await asyncio.sleep(pause)

    async def _write(
        self, verb: str, statements: Callable[[Transaction], Awaitable[T]], *, job_id: int | None = None
    ) -> T:
        async with asyncio.timeout(self._settings.request_deadline):
            return await queries.write(self._database, verb, statements, job_id=job_id)

    async def _renew(self) -> None:
        """Prolong the leases of running jobs, all at once when the oldest is a third over.

        So what is done sooner is never prolonged, and the audit log has at most a row for each third of a lease.
        """
        third = self._pace.lease / 3
        while True:
            now = monotonic()
            pause = min(self._working.values(), default=now) + third - now
            if pause > 0:
                await asyncio.sleep(pause)
                continue
            try:
                await self._renew_once(set(self._working))
            except DATABASE_AWAY as error:
                _count_away(error, "leases can't be prolonged")
                await asyncio.sleep(third)

    async def _renew_once(self, leases: set[UUID]) -> None:
        """Break off runs whose lease another worker may have by now."""
        asked = monotonic()
        held = await self._write("prolong", lambda tx: queries.renew(tx, leases, self._lasting))
        self._working.update(dict.fromkeys(held & self._working.keys(), asked))
        for lease in (leases - held) & self._working.keys():
            del self._working[lease]
            self._running[lease].cancel()

    async def _look_after(self) -> None:
        """Keep the periodic jobs' rows there, and the gauges true."""
        while True:
            try:
                await self._write("add", self._ensure_periodic)
                queue = await self._database.read(queries.count)
                WAITING.set(queue.waiting)
                OLDEST.set(queue.oldest.total_seconds())
                DEAD.set(queue.dead)
            except DATABASE_AWAY as error:
                _count_away(error, "jobs can't be counted")
            await asyncio.sleep(self._pace.look * random.uniform(0.8, 1.2))  # noqa: S311 - spreads workers

    async def _ensure_periodic(self, transaction: Transaction) -> bool:
        added = False
        for name, kind in self._kinds.items():
            if kind.every is not None:
                first = timedelta(seconds=min(60.0, kind.every) * random.random())  # noqa: S311 - jitter
                added |= await queries.ensure(transaction, name, first)
        return added

    async def _give_back(self) -> None:
        leases = list(self._running)
        if not leases:
            return
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
        try:
            await self._write("give_back", lambda tx: queries.give_back(tx, leases))
        except DATABASE_AWAY as error:
            # Their leases run out instead.
            _count_away(error, "jobs can't be given back")
        else:
            log.info("running jobs were given back", extra={"count": len(leases)})


def _count_away(error: BaseException, message: str) -> None:
    DATABASE_ERRORS.inc()
    log.warning(message, extra={"error": type(error).__name__})


def _fields(job: Job, took: float) -> dict[str, object]:
    return {
        "job": job.name,
        "job_id": job.id,
        "attempt": job.attempts,
        "duration_ms": round(took * 1000, 1),
    }


def _log_end(job: Job, end: Outcome, error: Exception | None, took: float) -> None:
    fields = _fields(job, took)
    if error is None:
        log.info("job done", extra=fields)
        return
    # The traceback helps only where the error isn't one of those that say all in their sentence.
    unexpected = None if isinstance(error, JobError) else error
    level = logging.ERROR if end.result == "dead" else logging.WARNING
    message = "job given up" if end.result == "dead" else "job failed, will be tried again"
    log.log(level, message, extra={**fields, "error": end.error}, exc_info=unexpected)
