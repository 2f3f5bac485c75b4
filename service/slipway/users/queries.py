"""SQL about users."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.paging import PageRequest
from slipway.permissions import ADMIN
from slipway.users.models import User


async def get(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def get_for_update(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id, with_for_update=True)


async def get_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(select(User).where(func.lower(User.email) == func.lower(email)))).one_or_none()


async def exists(session: AsyncSession) -> bool:
    """Whether there is any user at all."""
    return (await session.scalars(select(User.id).limit(1))).first() is not None


def _matching(email: str | None) -> Select[User]:
    statement = select(User)
    if email:
        statement = statement.where(func.lower(User.email).contains(email.lower(), autoescape=True))
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
