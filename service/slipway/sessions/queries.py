"""SQL about sessions, refresh tokens, sign-in attempts and password resets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, delete, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth.accounts import by_address
from slipway.auth.lifetimes import Lifetimes
from slipway.auth.models import User
from slipway.http.paging import PageRequest
from slipway.sessions.models import LoginAttempt, PasswordReset, RefreshToken, Session

FORGET_ATTEMPTS_AFTER = timedelta(days=1)
"""Failures older than this count no more. Longer than any back-off, so that waiting for it gains no guesses."""

# Rows are written by statement here, never through objects that a session would have to bring up to date.
_NO_SYNC = {"synchronize_session": False}

_COUNT_ATTEMPT = text("""
    INSERT INTO login_attempts AS known (key_hash, failures, blocked_until, updated_at)
    VALUES (
        :key_hash, 1,
        clock_timestamp() + interval '1 second' * CASE WHEN CAST(:free AS integer) <= 1 THEN 1 ELSE 0 END,
        clock_timestamp()
    )
    ON CONFLICT (key_hash) DO UPDATE SET
        failures = CASE WHEN known.updated_at < clock_timestamp() - CAST(:forget AS interval) THEN 1
            ELSE known.failures + 1 END,
        blocked_until = clock_timestamp() + interval '1 second' * CASE
            WHEN known.updated_at < clock_timestamp() - CAST(:forget AS interval) THEN 0
            WHEN known.failures + 1 < CAST(:free AS integer) THEN 0
            ELSE least(CAST(:longest AS integer), power(2, least(known.failures + 1 - CAST(:free AS integer), 20)))
            END,
        updated_at = clock_timestamp()
    WHERE known.blocked_until <= clock_timestamp()
    RETURNING failures
""")


class Account(NamedTuple):
    """What signing in needs to know of a user."""

    id: UUID
    email: str
    password_hash: str
    permissions: list[str]
    is_active: bool


class Family(NamedTuple):
    """The locked session behind a refresh token, and its user. `left` is how long it still lives, if it does."""

    session_id: UUID
    user_id: UUID
    permissions: list[str]
    is_live: bool
    left: timedelta


class UsedToken(NamedTuple):
    """A refresh token that was used. `age` is the time since, `successor` sealed."""

    age: timedelta
    successor: bytes


_ACCOUNT = (User.id, User.email, User.password_hash, User.permissions, User.is_active)


async def account_by_email(session: AsyncSession, email: str, *, lock: bool = False) -> Account | None:
    """Whose address it is; locked, it stays theirs until the commit."""
    statement = by_address(email).with_only_columns(*_ACCOUNT)
    row = (await session.execute(statement.with_for_update(read=True) if lock else statement)).one_or_none()
    return Account(*row) if row else None


async def account_by_id(session: AsyncSession, user_id: UUID) -> Account | None:
    row = (await session.execute(select(*_ACCOUNT).where(User.id == user_id))).one_or_none()
    return Account(*row) if row else None


async def lock_verified_account(session: AsyncSession, account: Account) -> bool:
    """Whether the password that was verified is still the account's; then it stays so until the commit."""
    statement = (
        select(User.id)
        .where(User.id == account.id, User.password_hash == account.password_hash, User.is_active)
        .with_for_update(read=True)
    )
    return (await session.scalars(statement)).one_or_none() is not None


async def lock_user(session: AsyncSession, user_id: UUID) -> bool:
    """Whether there is such a user; their row is locked, so that sign-ins under way end before or begin after."""
    statement = select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    return (await session.scalars(statement)).one_or_none() is not None


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str, *, instead_of: str | None) -> bool:
    """Store a hash; only over `instead_of` where that is given. Whether it was stored."""
    statement = update(User).where(User.id == user_id, User.is_active).values(password_hash=password_hash)
    if instead_of is not None:
        statement = statement.where(User.password_hash == instead_of)
    changed = await session.execute(statement.returning(User.id), execution_options=_NO_SYNC)
    return changed.one_or_none() is not None


# Sessions


async def add_session(session: AsyncSession, row: Session, token_hash: bytes) -> None:
    """A session and the first refresh token of its family."""
    session.add(row)
    await session.flush()
    await add_refresh_token(session, row.id, token_hash)


def _ends_at(lifetimes: Lifetimes) -> ColumnElement[Any]:
    """Earlier than the row says where the row is of a release, or a setting, that let sessions live longer."""
    return func.least(Session.expires_at, Session.created_at + lifetimes.longest)


def _live(lifetimes: Lifetimes) -> Select[Session]:
    return select(Session).where(Session.revoked_at.is_(None), _ends_at(lifetimes) > func.now())


async def page_of_live(
    session: AsyncSession, user_id: UUID, wanted: PageRequest, lifetimes: Lifetimes
) -> Sequence[Session]:
    """One row more than wanted, so that the caller knows whether more follow."""
    statement = _live(lifetimes).where(Session.user_id == user_id).order_by(Session.id)
    statement = statement.limit(wanted.per_page + 1).offset(wanted.offset)
    if wanted.after:
        statement = statement.where(Session.id > wanted.after)
    return (await session.scalars(statement)).all()


async def count_live(session: AsyncSession, user_id: UUID, lifetimes: Lifetimes) -> int:
    counted = select(func.count()).select_from(_live(lifetimes).where(Session.user_id == user_id).subquery())
    return (await session.execute(counted)).scalar_one()


async def owner_of_live(session: AsyncSession, session_id: UUID, lifetimes: Lifetimes) -> UUID | None:
    live = _live(lifetimes).with_only_columns(Session.user_id)
    found = await session.scalars(live.where(Session.id == session_id))
    return found.one_or_none()


async def revoke_session(session: AsyncSession, session_id: UUID, reason: str) -> bool:
    """End a session; whether it had not ended before."""
    return bool(await _revoke(session, reason, Session.id == session_id))


async def revoke_sessions_of(
    session: AsyncSession, user_id: UUID, reason: str, *, keep: UUID | None = None
) -> Sequence[UUID]:
    """End a user's sessions but `keep`; the ids of those ended. Call Principals.forget with them after the commit."""
    return await _revoke(session, reason, Session.user_id == user_id, Session.id != keep if keep else literal(True))


async def _revoke(session: AsyncSession, reason: str, *which: object) -> Sequence[UUID]:
    statement = (
        update(Session)
        .where(Session.revoked_at.is_(None), *which)  # type: ignore[arg-type]
        .values(revoked_at=func.now(), revoked_reason=reason)
        .returning(Session.id)
    )
    return (await session.scalars(statement, execution_options=_NO_SYNC)).all()


# Refresh tokens


async def add_refresh_token(session: AsyncSession, session_id: UUID, token_hash: bytes) -> None:
    await session.execute(insert(RefreshToken).values(token_hash=token_hash, session_id=session_id))


async def lock_family(session: AsyncSession, token_hash: bytes, lifetimes: Lifetimes) -> Family | None:
    """The session of a token, locked: what ends sessions comes before this, and is seen, or after the commit.

    Deleting a user goes from session to token as well: one order everywhere, no deadlocks.
    """
    left = _ends_at(lifetimes) - func.now()
    is_live = Session.revoked_at.is_(None) & (left > timedelta(0)) & User.is_active
    statement = (
        select(Session.id, Session.user_id, User.permissions, is_live, left)
        .join(RefreshToken, RefreshToken.session_id == Session.id)
        .join(User, User.id == Session.user_id)
        .where(RefreshToken.token_hash == token_hash)
        .with_for_update(of=Session, key_share=True)
    )
    row = (await session.execute(statement)).one_or_none()
    return Family(*row) if row else None


async def session_of(session: AsyncSession, token_hash: bytes) -> UUID | None:
    found = await session.scalars(select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash))
    return found.one_or_none()


async def use_refresh_token(session: AsyncSession, token_hash: bytes, successor: bytes) -> bool:
    """Mark a token as used; True for one caller only, however many try."""
    statement = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=func.clock_timestamp(), successor=successor)
        .returning(RefreshToken.session_id)
    )
    used = await session.execute(statement, execution_options=_NO_SYNC)
    return used.one_or_none() is not None


async def used_refresh_token(session: AsyncSession, token_hash: bytes) -> UsedToken | None:
    statement = select(func.clock_timestamp() - RefreshToken.used_at, RefreshToken.successor).where(
        RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_not(None)
    )
    row = (await session.execute(statement)).one_or_none()
    return UsedToken(row[0], row[1] or b"") if row else None


async def is_unused(session: AsyncSession, token_hash: bytes) -> bool:
    statement = select(RefreshToken.used_at.is_(None)).where(RefreshToken.token_hash == token_hash)
    return (await session.scalars(statement)).one_or_none() is True


async def extend_session(session: AsyncSession, session_id: UUID, lifetimes: Lifetimes) -> timedelta:
    """Note a use; how long the session lives from now on without another."""
    ends_at = func.least(func.now() + lifetimes.unused, Session.created_at + lifetimes.longest)
    statement = update(Session).where(Session.id == session_id).values(last_used_at=func.now(), expires_at=ends_at)
    left = statement.returning(Session.expires_at - func.now())
    found: Any = await session.scalar(left, execution_options=_NO_SYNC)
    return cast("timedelta", found)


# Sign-in attempts


async def count_attempt(session: AsyncSession, key_hash: bytes, free: int, longest: int) -> int | None:
    """Count a guess and set how long the next must wait, in one statement; None when it must wait itself.

    From the `free`-th failure on the wait doubles from one second up to `longest`.
    """
    values = {"key_hash": key_hash, "free": free, "longest": longest, "forget": FORGET_ATTEMPTS_AFTER}
    return (await session.execute(_COUNT_ATTEMPT, values)).scalar_one_or_none()


async def blocked_for(session: AsyncSession, key_hash: bytes) -> float:
    """Seconds until the next guess may be made; 0 when it may be now."""
    left = func.extract("epoch", LoginAttempt.blocked_until - func.clock_timestamp())
    seconds = await session.scalar(select(left).where(LoginAttempt.key_hash == key_hash))
    return max(0.0, float(seconds or 0))


async def forget_attempts(session: AsyncSession, key_hash: bytes) -> None:
    await session.execute(delete(LoginAttempt).where(LoginAttempt.key_hash == key_hash))


async def give_attempt_back(session: AsyncSession, key_hash: bytes, failures: int) -> None:
    """Uncount a guess; the wait it caused ends too, unless others failed since it counted `failures`."""
    is_last = LoginAttempt.failures == failures
    await session.execute(
        update(LoginAttempt)
        .where(LoginAttempt.key_hash == key_hash)
        .values(
            failures=func.greatest(LoginAttempt.failures - 1, 0),
            blocked_until=case((is_last, func.clock_timestamp()), else_=LoginAttempt.blocked_until),
        ),
        execution_options=_NO_SYNC,
    )


# Password resets


async def add_password_reset(session: AsyncSession, user_id: UUID, token_hash: bytes, lifetime: timedelta) -> None:
    values = {"token_hash": token_hash, "user_id": user_id, "expires_at": func.now() + lifetime}
    await session.execute(insert(PasswordReset).values(**values))


async def owner_of_reset(session: AsyncSession, token_hash: bytes) -> UUID | None:
    """Whose password an unused, unexpired token may set."""
    statement = select(PasswordReset.user_id).where(
        PasswordReset.token_hash == token_hash,
        PasswordReset.used_at.is_(None),
        PasswordReset.expires_at > func.now(),
    )
    return (await session.scalars(statement)).one_or_none()


async def use_password_reset(session: AsyncSession, token_hash: bytes) -> bool:
    """Mark a token as used; True for one caller only, and for none once it has expired."""
    statement = (
        update(PasswordReset)
        .where(
            PasswordReset.token_hash == token_hash,
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(PasswordReset.user_id)
    )
    return (await session.execute(statement, execution_options=_NO_SYNC)).one_or_none() is not None


async def void_password_resets(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(
        update(PasswordReset)
        .where(PasswordReset.user_id == user_id, PasswordReset.used_at.is_(None))
        .values(used_at=func.now()),
        execution_options=_NO_SYNC,
    )
