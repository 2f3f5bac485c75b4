"""Looking at a password, and settling the guess that was counted for it.

A right password gives its guess back at once, in a transaction of its own: what fails afterwards is no guess. That
goes on when the request has ended meanwhile, by its deadline or because its client left; otherwise impatience would
lock people out who know their password. Failure policy: where the count can't be settled, the database's error goes up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from slipway.auth.dependencies import Principal
from slipway.auth.passwords import Verdict
from slipway.context.deadline import set_deadline
from slipway.http.problems import ProblemDetail, UnavailableError, ValidationError
from slipway.sessions import queries
from slipway.sessions.queries import Account
from slipway.sessions.throttle import Reservation
from slipway.storage.audit import Action

if TYPE_CHECKING:
    from slipway.sessions.parts import SessionParts

PROVE = Action("sessions", "prove")
RELEASE = Action("sessions", "release")

_settling: set[asyncio.Task[Verdict]] = set()
"""What goes on without its request; asyncio itself keeps no task alive."""


async def compare(parts: SessionParts, reservation: Reservation, password: str, account: Account | None) -> Verdict:
    """Compare a password with an account's, and settle its guess. Raises UnavailableError when too many wait.

    A switched-off account's right password stays counted: its sign-in must be told like any other that fails.
    """
    return await _apart(_compare(parts, reservation, password, account))


async def verify(parts: SessionParts, password: str, account: Account | None) -> Verdict:
    """The comparison alone, for a password whose guess was given back a moment ago."""
    return await _apart(parts.passwords.verify(password, account.password_hash if account else None))


async def _apart(work: Coroutine[Any, Any, Verdict]) -> Verdict:
    task = asyncio.create_task(work)
    _settling.add(task)
    task.add_done_callback(_settling.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()  # it ends at once where no thread has begun
        raise


async def _compare(parts: SessionParts, reservation: Reservation, password: str, account: Account | None) -> Verdict:
    throttle, database = parts.throttle, parts.database
    try:
        verdict = await parts.passwords.verify(password, account.password_hash if account else None)
    except (UnavailableError, asyncio.CancelledError):
        # Nobody looked at the password: no guess was made.
        _own_deadline(parts)
        await database.unit(RELEASE, lambda transaction: throttle.release(transaction, reservation))
        raise
    if verdict.ok and account is not None and account.is_active:
        _own_deadline(parts)
        await database.unit(PROVE, lambda transaction: throttle.succeed(transaction, reservation))
    return verdict


def _own_deadline(parts: SessionParts) -> None:
    # The request's may be over. This is a task with a context of its own.
    set_deadline(monotonic() + parts.settings.request_deadline)


async def prove_password(parts: SessionParts, actor: Principal, password: str, address: str) -> Account:
    """Check the actor's own password. Raises ValidationError at `body.current_password`, and RateLimitedError.

    Counted like a sign-in: a stolen access token must not open a way to guess the password. The account is returned
    as it was when the password was checked.
    """
    account = await parts.database.read(lambda session: queries.account_by_id(session, actor.id))
    reservation = await parts.throttle.reserve(str(actor.id), address)
    verdict = await compare(parts, reservation, password, account)
    if account is None or not account.is_active or not verdict.ok:
        raise wrong_password()
    return account


def wrong_password(message: str = "This is not your password.") -> ValidationError:
    return ValidationError(details=[ProblemDetail(location="body.current_password", message=message)])
