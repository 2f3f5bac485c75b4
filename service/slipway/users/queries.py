"""SQL about users."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_expression

from slipway.auth.accounts import UNKEYED, by_address
from slipway.auth.addresses import address_key, parts_of_keys
from slipway.auth.models import EmailChange, User
from slipway.auth.permissions import ADMIN
from slipway.http.paging import PageRequest

_NO_SYNC = {"synchronize_session": False}

_PENDING = (
    select(EmailChange.email)
    .where(EmailChange.user_id == User.id, EmailChange.expires_at > func.now())
    .scalar_subquery()
)


def _shown() -> Select[User]:
    return select(User).options(with_expression(User.pending_email, _PENDING))


async def get(session: AsyncSession, user_id: UUID) -> User | None:
    return (await session.scalars(_shown().where(User.id == user_id))).one_or_none()


async def get_for_update(session: AsyncSession, user_id: UUID) -> User | None:
    """Locked, and shown as it is under the lock."""
    user = await session.get(User, user_id, with_for_update=True)
    if user is not None:
        user.pending_email = await session.scalar(select(_PENDING).where(User.id == user_id))
    return user


async def get_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(by_address(email))).one_or_none()


async def exists(session: AsyncSession) -> bool:
    """Whether there is any user at all."""
    return (await session.scalars(select(User.id).limit(1))).first() is not None


def _matching(email: str | None) -> Select[User]:
    statement = _shown()
    if email:
        parts = [User.email_key.contains(part, autoescape=True) for part in sorted(parts_of_keys(email))]
        as_shown = unicodedata.normalize("NFC", email).lower()
        same_case = func.lower(User.email).contains(as_shown, autoescape=True)
        statement = statement.where(or_(and_(~UNKEYED, or_(*parts)), same_case))
    return statement


async def page(session: AsyncSession, wanted: PageRequest, email: str | None) -> Sequence[User]:
    """One row more than wanted, so that the caller knows whether more follow."""
    statement = _matching(email).order_by(User.id).limit(wanted.per_page + 1).offset(wanted.offset)
    if wanted.after:
        statement = statement.where(User.id > wanted.after)
    return (await session.scalars(statement)).all()


async def count(session: AsyncSession, email: str | None) -> int:
    return (await session.execute(select(func.count()).select_from(_matching(email).subquery()))).scalar_one()


async def lock_administrators(session: AsyncSession) -> Sequence[UUID]:
    """The active administrators, locked in one order, so that two removals at once can't leave none."""
    statement = (
        select(User.id).where(User.permissions.contains([ADMIN]), User.is_active).order_by(User.id).with_for_update()
    )
    return (await session.scalars(statement)).all()


async def remove(session: AsyncSession, user_id: UUID) -> None:
    """Sessions, items and exports go with it by foreign key."""
    await session.execute(delete(User).where(User.id == user_id))


# Addresses without a key


class Unkeyed(NamedTuple):
    """A user whose key is missing or of another address, and the key that the address should have."""

    id: UUID
    email: str
    key: str


_SET_KEYS = text("""
    UPDATE users SET email_key = wanted.key, email_keyed = wanted.email
    FROM unnest(CAST(:ids AS uuid[]), CAST(:emails AS text[]), CAST(:keys AS text[])) AS wanted (id, email, key)
    WHERE users.id = wanted.id AND users.email = wanted.email AND NOT EXISTS (
        SELECT FROM users AS other
        WHERE other.email_key = wanted.key AND other.email_keyed = other.email AND other.id <> wanted.id
    )
    RETURNING users.id
""")


async def unkeyed(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[Unkeyed]:
    """The oldest first."""
    statement = select(User.id, User.email).where(UNKEYED).order_by(User.id).limit(limit)
    if after is not None:
        statement = statement.where(User.id > after)
    return [Unkeyed(row.id, row.email, address_key(row.email)) for row in await session.execute(statement)]


async def set_keys(session: AsyncSession, rows: Sequence[Unkeyed]) -> Sequence[UUID]:
    """Give addresses their keys, where they are still those addresses and nobody else has the key; who got theirs."""
    values = {"ids": [row.id for row in rows], "emails": [row.email for row in rows], "keys": [row.key for row in rows]}
    return (await session.scalars(_SET_KEYS, values)).all()


async def holders(session: AsyncSession, keys: Sequence[str]) -> dict[str, UUID]:
    """By key, whose it is."""
    statement = select(User.email_key, User.id).where(User.email_key.in_(keys), User.email_keyed == User.email)
    return {str(row.email_key): row.id for row in await session.execute(statement)}


# Changes of address


async def put_email_change(session: AsyncSession, user: User, email: str, lifetime: timedelta) -> None:
    """One a user: it takes the place of an earlier one, whose links are dead with that."""
    new: dict[str, Any] = {
        "email": email,
        "email_before": user.email,
        "token_hashes": [],
        "expires_at": func.now() + lifetime,
    }
    new["created_at"] = func.now()
    statement = insert(EmailChange).values(user_id=user.id, **new)
    await session.execute(statement.on_conflict_do_update(index_elements=[EmailChange.user_id], set_=new))


async def email_change_is_wanted(session: AsyncSession, user_id: UUID, email: str) -> bool:
    """Whether the user may still confirm this address."""
    statement = (
        select(User.id)
        .join(EmailChange, EmailChange.user_id == User.id)
        .where(User.id == user_id, User.is_active, User.email == EmailChange.email_before)
        .where(EmailChange.email == email, EmailChange.expires_at > func.now())
    )
    return await session.scalar(statement) is not None


async def add_email_change_token(session: AsyncSession, user_id: UUID, email: str, token_hash: bytes) -> None:
    statement = update(EmailChange).where(EmailChange.user_id == user_id, EmailChange.email == email)
    added = func.array_append(EmailChange.token_hashes, token_hash)
    await session.execute(statement.values(token_hashes=added), execution_options=_NO_SYNC)


async def asker_of(session: AsyncSession, token_hash: bytes) -> UUID | None:
    """Who asked for the change that a token confirms."""
    return await session.scalar(select(EmailChange.user_id).where(EmailChange.token_hashes.contains([token_hash])))


async def use_email_change(session: AsyncSession, token_hash: bytes, user: User) -> str | None:
    """End the change that a token confirms; the new address, for one caller only, and for none when it has expired."""
    statement = (
        delete(EmailChange)
        .where(EmailChange.user_id == user.id, EmailChange.token_hashes.contains([token_hash]))
        .where(EmailChange.expires_at > func.now(), EmailChange.email_before == user.email)
        .returning(EmailChange.email)
    )
    return (await session.scalars(statement, execution_options=_NO_SYNC)).one_or_none()
