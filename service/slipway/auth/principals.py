"""Who is behind a session: its row and its user's, read from PostgreSQL at most once in `session_max_age` seconds.

A revoked session is therefore refused by every process within that time, whatever Redis does. Failure policy: when
the database can't be asked, the error goes up and becomes a 503; an answer older than the bound is never used.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from slipway.auth.lifetimes import Lifetimes
from slipway.settings import Settings

if TYPE_CHECKING:
    from slipway.storage.engine import Database

CACHE_SIZE = 10_000

LOOK_AGAIN = 1.0
"""Seconds after which `has_ended` asks again, where rows are read more often than that."""

LIVE_SESSION = """
    SELECT users.id, email, display_name, permissions, is_active, version, users.created_at, users.updated_at,
        (SELECT pending.email FROM email_changes AS pending
            WHERE pending.user_id = users.id AND pending.expires_at > now()) AS pending_email
    FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.id = $1 AND sessions.revoked_at IS NULL AND users.is_active
        AND sessions.expires_at > now() AND sessions.created_at > now() - $2::interval
"""
"""The user behind a session that may still be used; no row otherwise. `$2` is the longest lifetime of a session."""


@dataclass(frozen=True, slots=True)
class SessionUser:
    """A live session's user, as the row was when it was read; a token may carry fewer permissions."""

    session_id: UUID
    id: UUID
    email: str
    display_name: str
    permissions: frozenset[str]
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime
    pending_email: str | None


@dataclass(slots=True)
class _Entry:
    """What was read, and when the question was sent (monotonic seconds)."""

    asked_at: float
    user: SessionUser | None


@dataclass(slots=True)
class _Flight:
    """A question under way; those who ask meanwhile share its answer."""

    asked_at: float
    task: asyncio.Task[SessionUser | None]


class Principals:
    """The bounded cache of live sessions of one process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._max_age = settings.session_max_age
        self._lifetimes = Lifetimes.of(settings)
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._flights: dict[UUID, _Flight] = {}

    def peek(self, session_id: UUID) -> SessionUser | None:
        """The user, when that was read recently enough; None says nothing, ask `get`."""
        entry = self._entries.get(session_id)
        if entry is None or monotonic() - entry.asked_at >= self._max_age:
            return None
        return entry.user

    async def get(self, session_id: UUID) -> SessionUser | None:
        """The user behind a live session; None when it is revoked, expired, or its user gone or switched off."""
        now = monotonic()
        if self._max_age == 0:  # no answer may be shared: a task for it would only cost time
            user = await self._read(session_id)
            self._keep(session_id, _Entry(now, user))
            return user
        entry = self._entries.get(session_id)
        if entry is not None and now - entry.asked_at < self._max_age:
            return entry.user
        flight = self._flights.get(session_id)
        if flight is None or now - flight.asked_at >= self._max_age:
            flight = self._ask(session_id, now)
        # A client that goes away must not end the question for those who share it.
        return await asyncio.shield(flight.task)

    def has_ended(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether the user's session had ended when its row was last read, however long ago that is; never waits.

        Where that is too long ago the row is read in the background, so that the next request knows. It decides whose
        rate limit pays for a request, nothing else: a session is refused by `get` alone.
        """
        entry = self._entries.get(session_id)
        now = monotonic()
        if (
            entry is None or now - entry.asked_at >= max(self._max_age, LOOK_AGAIN)
        ) and session_id not in self._flights:
            self._ask(session_id, now)
        return entry is not None and (entry.user is None or entry.user.id != user_id)

    def forget(self, session_ids: Sequence[UUID]) -> None:
        """Read these sessions again at their next request; call it after the commit that changed them."""
        for session_id in session_ids:
            self._entries.pop(session_id, None)
            self._flights.pop(session_id, None)

    def forget_user(self, user_id: UUID) -> None:
        """The same for all sessions of a user; call it after the commit that changed the user's row."""
        known = [key for key, entry in self._entries.items() if entry.user is not None and entry.user.id == user_id]
        # Whose session a question under way is about isn't known yet: none of those answers is kept.
        self.forget([*known, *self._flights])

    def _ask(self, session_id: UUID, now: float) -> _Flight:
        flight = _Flight(now, asyncio.create_task(self._read(session_id)))
        self._flights[session_id] = flight
        flight.task.add_done_callback(lambda task: self._land(session_id, flight, task))
        return flight

    def _land(self, session_id: UUID, flight: _Flight, task: asyncio.Task[SessionUser | None]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._flights.get(session_id) is not flight:
            return  # forgotten meanwhile: the answer may be older than the change
        del self._flights[session_id]
        if not failed:
            self._keep(session_id, _Entry(flight.asked_at, task.result()))

    def _keep(self, session_id: UUID, entry: _Entry) -> None:
        self._entries[session_id] = entry
        self._entries.move_to_end(session_id)
        if len(self._entries) > CACHE_SIZE:
            self._entries.popitem(last=False)

    async def _read(self, session_id: UUID) -> SessionUser | None:
        row = await self._database.fetch_row(LIVE_SESSION, session_id, self._lifetimes.longest)
        if row is None:
            return None
        user_id, email, display_name, permissions, is_active, version, created_at, updated_at, pending_email = row
        return SessionUser(
            session_id,
            user_id,
            email,
            display_name,
            frozenset(permissions),
            is_active,
            version,
            created_at,
            updated_at,
            pending_email,
        )
