"""SQL about sessions, refresh tokens and password resets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    LargeBinary,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth.accounts import by_address, typed
from slipway.auth.lifetimes import Lifetimes
from slipway.auth.models import User
from slipway.http.paging import PageRequest
from slipway.sessions.models import PasswordReset, RefreshToken, Session
from slipway.storage.statements import Row, Statement, one
from slipway.storage.unit import Asked, Transaction

_USERS, _SESSIONS, _TOKENS, _RESETS = (
    cast("Table", model.__table__) for model in (User, Session, RefreshToken, PasswordReset)
)


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
_BY_ADDRESS = Statement(by_address(*_ACCOUNT))
_LOCK_BY_ADDRESS = Statement(by_address(*_ACCOUNT).with_for_update(read=True))


async def account_by_email(asked: Asked, email: str, *, lock: bool = False) -> Account | None:
    """Whose address it is; locked, it stays theirs until the commit."""
    row = await asked.row(_LOCK_BY_ADDRESS if lock else _BY_ADDRESS, **typed(email))
    return Account(*row) if row else None


async def account_by_id(session: AsyncSession, user_id: UUID) -> Account | None:
    row = (await session.execute(select(*_ACCOUNT).where(User.id == user_id))).one_or_none()
    return Account(*row) if row else None


_LOCK_VERIFIED = Statement(
    select(_USERS.c.id)
    .where(_USERS.c.id == bindparam("user_id"), _USERS.c.password_hash == bindparam("verified"), _USERS.c.is_active)
    .with_for_update(read=True)
)
_LOCK_USER = Statement(select(_USERS.c.id).where(_USERS.c.id == bindparam("user_id")).with_for_update(key_share=True))
_SET_PASSWORD = Statement(
    update(_USERS)
    .where(
        _USERS.c.id == bindparam("user_id"),
        _USERS.c.is_active,
        or_(
            bindparam("instead_of", type_=Text).is_(None), _USERS.c.password_hash == bindparam("instead_of", type_=Text)
        ),
    )
    .values(password_hash=bindparam("new_hash"))
    .returning(_USERS.c.id)
)


async def lock_verified_account(transaction: Transaction, account: Account) -> bool:
    """Whether the password that was verified is still the account's; then it stays so until the commit."""
    return await transaction.row(_LOCK_VERIFIED, user_id=account.id, verified=account.password_hash) is not None


async def lock_user(transaction: Transaction, user_id: UUID) -> bool:
    """Whether there is such a user; their row is locked, so that sign-ins under way end before or begin after."""
    return await transaction.row(_LOCK_USER, user_id=user_id) is not None


async def set_password(transaction: Transaction, user_id: UUID, password_hash: str, *, instead_of: str | None) -> bool:
    """Store a hash; only over `instead_of` where that is given. Whether it was stored."""
    stored = await transaction.row(_SET_PASSWORD, user_id=user_id, new_hash=password_hash, instead_of=instead_of)
    return stored is not None


# Sessions


_ADD_SESSION = Statement(
    insert(_SESSIONS).values(
        id=bindparam("id"),
        user_id=bindparam("user_id", type_=Uuid),
        expires_at=func.now() + bindparam("left", type_=Interval),
        address=bindparam("address"),
        user_agent=bindparam("user_agent"),
    )
)


async def add_session(
    transaction: Transaction, session_id: UUID, user_id: UUID, left: timedelta, token_hash: bytes, **device: str
) -> None:
    """A session and the first refresh token of its family."""
    await transaction.row(_ADD_SESSION, id=session_id, user_id=user_id, left=left, **device)
    await add_refresh_token(transaction, session_id, token_hash)


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


_LONGEST = bindparam("longest", type_=Interval)
_ENDS_AT = func.least(_SESSIONS.c.expires_at, _SESSIONS.c.created_at + _LONGEST)
_OWNER_OF_LIVE = Statement(
    select(_SESSIONS.c.user_id).where(
        _SESSIONS.c.id == bindparam("session_id"), _SESSIONS.c.revoked_at.is_(None), func.now() < _ENDS_AT
    )
)
_REVOKED = {"revoked_at": func.now(), "revoked_reason": bindparam("reason", type_=Text)}
_REVOKE = Statement(
    update(_SESSIONS)
    .where(_SESSIONS.c.id == bindparam("session_id"), _SESSIONS.c.revoked_at.is_(None))
    .values(_REVOKED)
    .returning(_SESSIONS.c.id)
)
_REVOKE_ALL = Statement(
    update(_SESSIONS)
    .where(
        _SESSIONS.c.user_id == bindparam("owner", type_=Uuid),
        _SESSIONS.c.revoked_at.is_(None),
        _SESSIONS.c.id.is_distinct_from(bindparam("keep", type_=Uuid)),
    )
    .values(_REVOKED)
    .returning(_SESSIONS.c.id)
)


async def owner_of_live(transaction: Transaction, session_id: UUID, lifetimes: Lifetimes) -> UUID | None:
    row = await transaction.row(_OWNER_OF_LIVE, session_id=session_id, longest=lifetimes.longest)
    return row.user_id if row else None


async def revoke_session(transaction: Transaction, session_id: UUID, reason: str) -> bool:
    """End a session; whether it had not ended before."""
    return await transaction.row(_REVOKE, session_id=session_id, reason=reason) is not None


async def revoke_sessions_of(
    transaction: Transaction, user_id: UUID, reason: str, *, keep: UUID | None = None
) -> Sequence[UUID]:
    """End a user's sessions but `keep`; the ids of those ended. Call Principals.forget with them after the commit."""
    return [row.id for row in await transaction.rows(_REVOKE_ALL, owner=user_id, reason=reason, keep=keep)]


# Refresh tokens


_TOKEN_HASH = bindparam("hash", type_=LargeBinary)
"""Not named as a column: SQLAlchemy takes what is for values to be set."""
_ADD_TOKEN = Statement(insert(_TOKENS).values(token_hash=_TOKEN_HASH, session_id=bindparam("session_id", type_=Uuid)))
_LEFT = _ENDS_AT - func.now()
_LOCK_FAMILY = Statement(
    select(
        _SESSIONS.c.id,
        _SESSIONS.c.user_id,
        _USERS.c.permissions,
        (_SESSIONS.c.revoked_at.is_(None) & (func.now() < _ENDS_AT) & _USERS.c.is_active).label("is_live"),
        _LEFT.label("left"),
    )
    .select_from(_SESSIONS)
    .join(_TOKENS, _TOKENS.c.session_id == _SESSIONS.c.id)
    .join(_USERS, _USERS.c.id == _SESSIONS.c.user_id)
    .where(_TOKENS.c.token_hash == _TOKEN_HASH)
    .with_for_update(of=_SESSIONS, key_share=True)
)
_SESSION_OF = Statement(
    select(_TOKENS.c.session_id, _SESSIONS.c.user_id)
    .join(_SESSIONS, _SESSIONS.c.id == _TOKENS.c.session_id)
    .where(_TOKENS.c.token_hash == _TOKEN_HASH)
)
_USE_TOKEN = Statement(
    update(_TOKENS)
    .where(_TOKENS.c.token_hash == _TOKEN_HASH, _TOKENS.c.used_at.is_(None))
    .values(used_at=func.clock_timestamp(), successor=bindparam("sealed", type_=LargeBinary))
    .returning(_TOKENS.c.session_id)
)
_USED_TOKEN = Statement(
    select((func.clock_timestamp() - _TOKENS.c.used_at).label("age"), _TOKENS.c.successor).where(
        _TOKENS.c.token_hash == _TOKEN_HASH, _TOKENS.c.used_at.is_not(None)
    )
)
_IS_UNUSED = Statement(
    select(_TOKENS.c.token_hash).where(_TOKENS.c.token_hash == _TOKEN_HASH, _TOKENS.c.used_at.is_(None))
)
_EXTEND = Statement(
    update(_SESSIONS)
    .where(_SESSIONS.c.id == bindparam("session_id"))
    .values(
        last_used_at=func.now(),
        expires_at=func.least(func.now() + bindparam("unused", type_=Interval), _SESSIONS.c.created_at + _LONGEST),
    )
    .returning((_SESSIONS.c.expires_at - func.now()).label("left"))
)


async def add_refresh_token(transaction: Transaction, session_id: UUID, token_hash: bytes) -> None:
    await transaction.row(_ADD_TOKEN, session_id=session_id, hash=token_hash)


async def lock_family(transaction: Transaction, token_hash: bytes, lifetimes: Lifetimes) -> Family | None:
    """The session of a token, locked: what ends sessions comes before this, and is seen, or after the commit.

    Deleting a user goes from session to token as well: one order everywhere, no deadlocks.
    """
    row = await transaction.row(_LOCK_FAMILY, hash=token_hash, longest=lifetimes.longest)
    return Family(*row) if row else None


async def session_of(transaction: Transaction, token_hash: bytes) -> Row | None:
    """The session that a refresh token is of, `session_id`, and whose that is, `user_id`."""
    return await transaction.row(_SESSION_OF, hash=token_hash)


async def use_refresh_token(transaction: Transaction, token_hash: bytes, successor: bytes) -> bool:
    """Mark a token as used; True for one caller only, however many try."""
    return await transaction.row(_USE_TOKEN, hash=token_hash, sealed=successor) is not None


async def used_refresh_token(transaction: Transaction, token_hash: bytes) -> UsedToken | None:
    row = await transaction.row(_USED_TOKEN, hash=token_hash)
    return UsedToken(row.age, row.successor or b"") if row else None


async def is_unused(transaction: Transaction, token_hash: bytes) -> bool:
    return await transaction.row(_IS_UNUSED, hash=token_hash) is not None


async def extend_session(transaction: Transaction, session_id: UUID, lifetimes: Lifetimes) -> timedelta:
    """Note a use; how long the session lives from now on without another."""
    row = await transaction.row(_EXTEND, session_id=session_id, unused=lifetimes.unused, longest=lifetimes.longest)
    return cast("timedelta", one(row).left)


# Password resets

_ADD_RESET = Statement(
    insert(_RESETS).values(
        token_hash=_TOKEN_HASH,
        user_id=bindparam("user_id", type_=Uuid),
        expires_at=func.now() + bindparam("lifetime", type_=Interval),
    )
)
_USE_RESET = Statement(
    update(_RESETS)
    .where(_RESETS.c.token_hash == _TOKEN_HASH, _RESETS.c.used_at.is_(None), _RESETS.c.expires_at > func.now())
    .values(used_at=func.now())
    .returning(_RESETS.c.user_id)
)
_VOID_RESETS = Statement(
    update(_RESETS)
    .where(_RESETS.c.user_id == bindparam("owner", type_=Uuid), _RESETS.c.used_at.is_(None))
    .values(used_at=func.now())
)


async def add_password_reset(transaction: Transaction, user_id: UUID, token_hash: bytes, lifetime: timedelta) -> None:
    await transaction.row(_ADD_RESET, user_id=user_id, hash=token_hash, lifetime=lifetime)


async def owner_of_reset(session: AsyncSession, token_hash: bytes) -> UUID | None:
    """Whose password an unused, unexpired token may set."""
    statement = select(PasswordReset.user_id).where(
        PasswordReset.token_hash == token_hash,
        PasswordReset.used_at.is_(None),
        PasswordReset.expires_at > func.now(),
    )
    return (await session.scalars(statement)).one_or_none()


async def use_password_reset(transaction: Transaction, token_hash: bytes) -> bool:
    """Mark a token as used; True for one caller only, and for none once it has expired."""
    return await transaction.row(_USE_RESET, hash=token_hash) is not None


async def void_password_resets(transaction: Transaction, user_id: UUID) -> None:
    await transaction.row(_VOID_RESETS, owner=user_id)
