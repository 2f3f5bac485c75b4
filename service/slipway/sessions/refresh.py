"""Refresh: a token is used once, and its use gives the next one of the family.

A reply can get lost, and clients refresh from several places at once. So for a short grace a used token gives the
same successor again, while that one is unused. Any other second use means that two parties hold the family: it ends.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from prometheus_client import Counter

from slipway.auth.lifetimes import Lifetimes
from slipway.http.problems import AuthenticationError
from slipway.sessions import queries
from slipway.sessions.oauth import InvalidScopeError
from slipway.sessions.queries import Family, UsedToken
from slipway.sessions.secret_tokens import hash_token, new_token, open_successor, seal_successor
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.telemetry.registry import REGISTRY

if TYPE_CHECKING:
    from slipway.sessions.parts import SessionParts

REUSED = "refresh_token_reused"
REFRESH = Action("sessions", "refresh")
END_REUSED = Action("sessions", "end_reused")

REFRESHES = Counter(
    "slipway_refreshes_total",
    "Refresh tokens shown: rotated, repeated within the grace, reused (the family was ended), refused.",
    ("result",),
    registry=REGISTRY,
)


class Grant(NamedTuple):
    """What a client is given: a session of a user, its newest refresh token, and how long it lives without use."""

    user_id: UUID
    session_id: UUID
    permissions: list[str]
    refresh_token: str
    left: timedelta


class Result(Enum):
    """What came of a refresh token, as the metric says it."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    REFUSED = "refused"


UNTOLD = frozenset((Result.REFUSED, Result.REPEATED))
"""Results that change nothing."""


class Outcome(NamedTuple):
    """The grant of a token that is good, and why there is one, or none."""

    result: Result
    grant: Grant | None = None


async def refresh(parts: SessionParts, token: str, scope: frozenset[str] | None = None) -> Grant:
    """Use a refresh token, for an access token that permits `scope` only, or all that the user may do.

    Raises AuthenticationError for one that is unknown, ended or reused; InvalidScopeError, and then it isn't used.
    """
    lifetimes = Lifetimes.of(parts.settings)

    async def work(transaction: Transaction) -> tuple[Family | None, Outcome]:
        family = await queries.lock_family(transaction, hash_token(token), lifetimes)
        outcome = Outcome(Result.REFUSED)
        if family is not None:
            transaction.entry.resource = transaction.entry.session = family.session_id
            transaction.entry.actor = family.user_id
            outcome = await _rotate(transaction, parts.settings, token, family, scope)
        if outcome.result in UNTOLD:
            transaction.leave_nothing()
        return family, outcome

    family, outcome = await parts.database.unit(REFRESH, work)
    REFRESHES.labels(outcome.result.value).inc()
    # Raised only now: inside, it would roll back the revocation that a reused token caused.
    if outcome.grant is None:
        if family is not None:
            parts.principals.forget([family.session_id])
        raise AuthenticationError("This refresh token is not valid any more: sign in again.")
    return outcome.grant


async def _rotate(
    transaction: Transaction, settings: Settings, token: str, family: Family, scope: frozenset[str] | None
) -> Outcome:
    if not family.is_live:
        return Outcome(Result.REFUSED)
    permissions = family.permissions if scope is None else sorted(scope)
    if not set(permissions) <= set(family.permissions):
        raise InvalidScopeError
    successor, result = new_token(), Result.ROTATED
    if await queries.use_refresh_token(transaction, hash_token(token), seal_successor(token, successor)):
        await queries.add_refresh_token(transaction, family.session_id, hash_token(successor))
        left = await queries.extend_session(transaction, family.session_id, Lifetimes.of(settings))
    else:
        repeated = await _repeatable(transaction, settings, token)
        if repeated is None:
            transaction.entry.action = END_REUSED
            await queries.revoke_session(transaction, family.session_id, REUSED)
            return Outcome(Result.REUSED)
        successor, left, result = repeated, family.left, Result.REPEATED
    return Outcome(result, Grant(family.user_id, family.session_id, permissions, successor, left))


async def _repeatable(transaction: Transaction, settings: Settings, token: str) -> str | None:
    """The successor that a used token may be given again; None when its use is reuse."""
    used = await queries.used_refresh_token(transaction, hash_token(token))
    if used is None or not within_grace(used, settings.refresh_grace):
        return None
    successor = open_successor(token, used.successor)
    if successor is None or not await queries.is_unused(transaction, hash_token(successor)):
        return None
    return successor


def within_grace(used: UsedToken, grace: float) -> bool:
    return used.age < timedelta(seconds=grace)
