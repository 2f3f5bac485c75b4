"""Putting a job into the queue, as part of the transaction that wants it done.

The row becomes visible, and workers are woken, when that transaction commits; a rollback takes both back. So a reply
that says 2xx has its jobs, and one that doesn't has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Interval, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from slipway.context.request import current
from slipway.jobs.models import LIVE_DEDUPE_KEY, JobRow
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction
from slipway.telemetry.tracing import inject_headers

CHANNEL = "slipway_jobs"
"""PostgreSQL's notification channel that wakes workers; a notification carries nothing."""

REQUEST_ID = "request_id"
"""Name of the request's id in a job's context, beside W3C's `traceparent` and `tracestate`."""


_ADDED = (
    insert(JobRow)
    .values(
        name=bindparam("name"),
        payload=bindparam("payload", type_=JSONB),
        context=bindparam("context", type_=JSONB),
        dedupe_key=bindparam("dedupe_key", type_=Text),
        run_after=func.now() + bindparam("delay", type_=Interval),
    )
    .on_conflict_do_nothing(index_elements=[JobRow.dedupe_key], index_where=LIVE_DEDUPE_KEY)
    .returning(JobRow.id)
    .cte("added")
)
# One round trip for both. PostgreSQL sends the notification at COMMIT, and merges equal ones of a transaction.
_ENQUEUE = Statement(select(func.pg_notify(CHANNEL, "")).select_from(_ADDED))


class JobQueue:
    """What request handlers need of the queue. It holds nothing: all is in the transaction that is handed in."""

    async def enqueue(
        self,
        transaction: Transaction,
        name: str,
        payload: Mapping[str, object],
        *,
        dedupe_key: str | None = None,
        run_after: timedelta | None = None,
    ) -> None:
        """Add a job in `transaction`; due after `run_after` (at once when None).

        `payload` must be JSON. With a `dedupe_key` nothing is added while a job of that key waits or runs.
        Raises what that raises; nothing is retried here.
        """
        values = {
            "name": name,
            "payload": dict(payload),
            "context": _context(),
            "dedupe_key": dedupe_key,
            "delay": run_after or timedelta(),
        }
        await transaction.row(_ENQUEUE, **values)


def _context() -> dict[str, str]:
    """Who wanted the job, so that its log lines and spans can be found from the request's, and the other way round."""
    request = current.get()
    return {} if request is None else {**inject_headers(), REQUEST_ID: request.request_id}
