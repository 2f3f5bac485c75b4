"""Deleting what has expired: a batch a unit of work, so that no statement is long and nobody waits for a lock.

It runs as one periodic job for all workers together (see `Kind.every`), so it never meets itself. Failure policy: each
expiry has its own share of the job's time and fails alone; those after it are purged all the same. What failed is
logged with its cause and counted, and then the job fails, so that it is tried again soon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Literal

from prometheus_client import Counter
from sqlalchemy import func, select, text

from slipway.jobs.expiries import Expiry
from slipway.jobs.kinds import Job, JobError
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.statements import Statement, one
from slipway.storage.unit import Transaction
from slipway.telemetry.registry import REGISTRY

JOB = "purge_expired"

PATIENCE = 0.8
"""The part of its share after which an expiry begins no other batch: what is left then waits for the next turn."""

LOCK_PATIENCE = 1.0
"""Seconds to wait for a lock of a table, which a schema change may hold; locked rows are passed over at once."""

PURGED = Counter("slipway_purged_rows_total", "Expired rows deleted.", ("table",), registry=REGISTRY)
PURGES = Counter(
    "slipway_purges_total",
    "Purges of a table by how they ended: done, unfinished (out of time, the next turn goes on), failed.",
    ("table", "result"),
    registry=REGISTRY,
)

log = logging.getLogger("slipway.jobs")


class Purge:
    """The periodic job; its effect is the same however often it runs."""

    def __init__(self, settings: Settings, database: Database, expiries: Sequence[Expiry]) -> None:
        self._settings = settings
        self._database = database
        self._expiries = expiries
        # One more share than there are expiries, for saying how it went.
        self._share = settings.job_timeout / (len(expiries) + 1)
        local = (
            # In place of the limits of requests, which a connection has.
            ("statement_timeout", f"{max(1, int(self._share * 1000))}ms"),
            ("lock_timeout", f"{int(LOCK_PATIENCE * 1000)}ms"),
            # Statistics, and plans that a connection keeps, may be of a time when the table was small. Then all that
            # has expired would be read and sorted for each batch; so nothing is left to plan but to follow the index.
            *((f"enable_{way}", "off") for way in ("sort", "bitmapscan", "seqscan")),
        )
        self._deletes = {expiry: Statement(text(expiry.delete())) for expiry in expiries}
        self._local = Statement(select(*(func.set_config(name, value, True) for name, value in local)))

    async def run(self, _job: Job) -> None:
        """Raises JobError that names the tables that couldn't be purged, once all others were."""
        failed = [expiry.table for expiry in self._expiries if await self._result(expiry) == "failed"]
        if failed:
            raise JobError(f"What has expired could not be deleted from {', '.join(sorted(set(failed)))}.")

    async def _result(self, expiry: Expiry) -> Literal["done", "unfinished", "failed"]:
        result: Literal["done", "unfinished", "failed"]
        try:
            async with asyncio.timeout(self._share):
                result = "done" if await self._delete_all(expiry) else "unfinished"
        except Exception as error:
            # Whatever ails one table, the others must not grow for it.
            result = "failed"
            log.warning("expired rows can't be deleted", extra={"table": expiry.table}, exc_info=error)
        if result == "unfinished":
            log.warning("more has expired than was deleted in time", extra={"table": expiry.table})
        PURGES.labels(expiry.table, result).inc()
        return result

    async def _delete_all(self, expiry: Expiry) -> bool:
        """Batch after batch; False when the time is over before the rows are."""
        end = monotonic() + PATIENCE * self._share
        while await self._delete_batch(expiry):
            if monotonic() >= end:
                return False
        return True

    async def _delete_batch(self, expiry: Expiry) -> bool:
        """Whether the batch was full; otherwise no more are there, or others hold them just now."""
        statement = self._deletes[expiry]

        async def work(transaction: Transaction) -> tuple[int, int]:
            await transaction.row(self._local)
            gone, below = one(await transaction.row(statement, **expiry.parameters(self._settings)))
            if not gone + below:
                transaction.leave_nothing()
            return gone, below

        gone, below = await self._database.unit(Action(expiry.table, "purge"), work, limit=self._share)
        PURGED.labels(expiry.table).inc(gone)
        if expiry.below is not None:
            PURGED.labels(expiry.below.table).inc(below)
        return expiry.is_full(gone, below)
