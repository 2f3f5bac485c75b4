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
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth.lifetimes import Lifetimes
from slipway.http.problems import AuthenticationError
from slipway.sessions import queries
from slipway.sessions.oauth import InvalidScopeError
from slipway.sessions.queries import Family, UsedToken
from slipway.sessions.secret_tokens import hash_token, new_token, open_successor, seal_successor
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

if TYPE_CHECKING:
    from slipway.sessions.parts import SessionParts

REUSED = "refresh_token_reused"

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


class _Failure(Enum):
    REFUSED = "refused"
    REUSED = "reused"


async def refresh(parts: SessionParts, token: str, scope: frozenset[str] | None = None) -> Grant:
    """Use a refresh token, for an access token that permits `scope` only, or all that the user may do.

    Raises AuthenticationError for one that is unknown, ended or reused; InvalidScopeError, and then it isn't used.
    """
    lifetimes = Lifetimes.of(parts.settings)
    async with parts.database.transaction() as session:
        family = await queries.lock_family(session, hash_token(token), lifetimes)
        outcome = await _rotate(session, parts.settings, token, family, scope) if family else _Failure.REFUSED
    # Raised only now: inside, it would roll back the revocation that a reused token caused.
    if isinstance(outcome, _Failure):
        REFRESHES.labels(outcome.value).inc()
        if family is not None:
            parts.principals.forget([family.session_id])
        raise AuthenticationError("This refresh token is not valid any more: sign in again.")
    return outcome


async def _rotate(
    session: AsyncSession, settings: Settings, token: str, family: Family, scope: frozenset[str] | None
) -> Grant | _Failure:
    if not family.is_live:
        return _Failure.REFUSED
    permissions = family.permissions if scope is None else sorted(scope)
    if not set(permissions) <= set(family.permissions):
        raise InvalidScopeError
    successor = new_token()
    if await queries.use_refresh_token(session, hash_token(token), seal_successor(token, successor)):
        await queries.add_refresh_token(session, family.session_id, hash_token(successor))
        left = await queries.extend_session(session, family.session_id, Lifetimes.of(settings))
        REFRESHES.labels("rotated").inc()
    else:
        repeated = await _repeatable(session, settings, token)
        if repeated is None:
            await queries.revoke_session(session, family.session_id, REUSED)
            return _Failure.REUSED
        successor, left = repeated, family.left
        REFRESHES.labels("repeated").inc()
    return Grant(family.user_id, family.session_id, permissions, successor, left)


async def _repeatable(session: AsyncSession, settings: Settings, token: str) -> str | None:
    """The successor that a used token may be given again; None when its use is reuse."""
    used = await queries.used_refresh_token(session, hash_token(token))
    if used is None or not within_grace(used, settings.refresh_grace):
        return None
    successor = open_successor(token, used.successor)
    if successor is None or not await queries.is_unused(session, hash_token(successor)):
        return None
    return successor


def within_grace(used: UsedToken, grace: float) -> bool:
    return used.age < timedelta(seconds=grace)
