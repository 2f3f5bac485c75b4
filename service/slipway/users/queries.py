"""SQL about users."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.paging import PageRequest
from slipway.permissions import ADMIN
from slipway.users.addresses import address_key, parts_of_keys
from slipway.users.models import User


async def get(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def get_for_update(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id, with_for_update=True)


# Rows of earlier releases, and of two people whose addresses have one key, are found as those releases found them.
_UNKEYED = User.email_keyed.is_distinct_from(User.email)


def keyed(key: str) -> ColumnElement[bool]:
    """Users whose address has this key: one at most."""
    return and_(User.email_key == key, User.email_keyed == User.email)


def by_address(typed: str) -> Select[User]:
    """Whose address this is, however it is written: one user at most."""
    same_case = func.lower(User.email) == func.lower(unicodedata.normalize("NFC", typed))
    found = or_(keyed(address_key(typed)), and_(_UNKEYED, same_case))
    return select(User).where(found).order_by(_UNKEYED.desc()).limit(1)


async def get_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(by_address(email))).one_or_none()


async def exists(session: AsyncSession) -> bool:
    """Whether there is any user at all."""
    return (await session.scalars(select(User.id).limit(1))).first() is not None


def _matching(email: str | None) -> Select[User]:
    statement = select(User)
    if email:
        parts = [User.email_key.contains(part, autoescape=True) for part in sorted(parts_of_keys(email))]
        as_shown = unicodedata.normalize("NFC", email).lower()
        same_case = func.lower(User.email).contains(as_shown, autoescape=True)
        statement = statement.where(or_(and_(~_UNKEYED, or_(*parts)), same_case))
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
    statement = select(User.id, User.email).where(_UNKEYED).order_by(User.id).limit(limit)
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
