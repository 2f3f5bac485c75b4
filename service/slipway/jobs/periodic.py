"""Deleting what has expired: a batch a transaction, so that no statement is long and nobody waits for a lock.

It runs as one periodic job for all workers together (see `Kind.every`), so it never meets itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from prometheus_client import Counter
from sqlalchemy import CursorResult, text

from slipway.jobs.kinds import Job
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.telemetry.registry import REGISTRY

JOB = "purge_expired"

PURGED = Counter("slipway_purged_rows_total", "Expired rows deleted.", ("table",), registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Expiry:
    """Which rows of a table have expired, and how many are deleted at once.

    Few of those with many rows below them, which go along: a session's tokens, an export's chunks.
    """

    table: str
    condition: str
    batch: int = 1000


EXPIRIES = (
    Expiry("exports", "expires_at < now()", batch=10),
    Expiry("sessions", "expires_at < now()", batch=100),
    Expiry("sessions", "created_at < now() - CAST(:session_max_lifetime AS interval)", batch=100),
    # A used token is kept as long as one could come back, to recognise that; the newest one of a session isn't used.
    Expiry("refresh_tokens", "used_at < now() - CAST(:refresh_token_ttl AS interval)"),
    Expiry("password_resets", "expires_at < now()"),
    Expiry("idempotency_keys", "expires_at < now()"),
    Expiry("login_attempts", "updated_at < now() - CAST(:login_memory AS interval) AND blocked_until < now()"),
)


class Purge:
    """The periodic job; its effect is the same however often it runs."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._parameters = {
            "refresh_token_ttl": timedelta(seconds=settings.refresh_token_ttl),
            "session_max_lifetime": timedelta(seconds=settings.session_max_lifetime),
            "login_memory": timedelta(seconds=max(86400, settings.login_backoff_max)),
        }

    async def run(self, _job: Job) -> None:
        for expiry in EXPIRIES:
            parameters = {name: value for name, value in self._parameters.items() if f":{name}" in expiry.condition}
            while await self._delete_batch(expiry, parameters) == expiry.batch:
                continue

    async def _delete_batch(self, expiry: Expiry, parameters: Mapping[str, object]) -> int:
        """How many rows went; fewer than a batch means that no more are there, or that others hold them just now."""
        statement = text(
            f"DELETE FROM {expiry.table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - names from this module
            f"SELECT ctid FROM {expiry.table} WHERE {expiry.condition} LIMIT :batch FOR UPDATE SKIP LOCKED))"
        )
        async with self._database.transaction() as session:
            result = await session.execute(statement, {**parameters, "batch": expiry.batch})
            deleted = cast("CursorResult[Any]", result).rowcount
        PURGED.labels(expiry.table).inc(deleted)
        return deleted
