"""A worker under test, and what a test asks about its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select

from servers.waiting import until
from slipway.jobs.kinds import Kind
from slipway.jobs.models import JobRow
from slipway.jobs.queue import JobQueue
from slipway.jobs.worker import Pace, Worker
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.engine import Database

TRY = Action("tests", "try")
QUICK = Pace(lease=0.6, look=0.2)


async def enqueue(db: Database, name: str, payload: dict[str, object] | None = None, **options: Any) -> None:
    await db.unit(TRY, lambda transaction: JobQueue().enqueue(transaction, name, payload or {}, **options))


async def rows(db: Database) -> list[JobRow]:
    async def read(session: Any) -> list[JobRow]:
        return list(await session.scalars(select(JobRow).order_by(JobRow.id)))

    return await db.read(read)


async def empty(db: Database) -> bool:
    return not await rows(db)


@asynccontextmanager
async def working(
    settings: Settings, db: Database, kinds: Mapping[str, Kind], pace: Pace = QUICK
) -> AsyncIterator[Worker]:
    worker = Worker(settings, db, kinds, pace)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
        await worker.stop()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def done(db: Database, within: float = 20) -> None:
    await until(lambda: empty(db), within=within)
