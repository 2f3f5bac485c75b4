"""What may be done with users, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.jobs.queue import JobQueue
from slipway.permissions import ADMIN
from slipway.preconditions import require_match
from slipway.problems import AuthorizationError, ConflictError
from slipway.sessions.dependencies import Principal, no_such_user
from slipway.sessions.proof import wrong_password
from slipway.sessions.queries import revoke_sessions_of, void_password_resets
from slipway.users import queries
from slipway.users.models import User
from slipway.users.schemas import UserCreate


@dataclass(frozen=True, slots=True)
class UserChange:
    """New values; None leaves a column as it is."""

    email: str | None = None
    display_name: str | None = None
    is_active: bool | None = None
    permissions: Sequence[str] | None = None
    by_password: bool = False
    """Whether the actor has just named their password."""


class Changed(NamedTuple):
    """A user after a change, and what they were before it."""

    user: User
    address_before: str
    active_before: bool


def require_visible(actor: Principal, user_id: UUID) -> None:
    """Raises NotFoundError for strangers, so that nobody learns who exists."""
    if not actor.may_see(user_id):
        raise no_such_user()


async def create(session: AsyncSession, new: UserCreate, password_hash: str) -> User:
    """Raises ConflictError when the address is taken."""
    user = User(
        email=new.email,
        display_name=new.display_name,
        password_hash=password_hash,
        permissions=sorted(set(new.permissions)),
    )
    session.add(user)
    await _flush(session)
    return user


async def change(
    session: AsyncSession, actor: Principal, user_id: UUID, wanted: UserChange, matching: frozenset[str] | None
) -> Changed:
    """Apply a change to a locked row.

    Raises NotFound, Authorization, PreconditionFailed and Conflict errors, and ValidationError where the password of
    the actor is needed: whoever stole a token could otherwise take the account over, by a reset to their own address.
    """
    require_visible(actor, user_id)
    # Locks in one order everywhere: administrators first, then the row.
    administrators = await queries.lock_administrators(session) if _ends_administrator(wanted) else ()
    user = await queries.get_for_update(session, user_id)
    if user is None:
        raise no_such_user()
    require_match(matching, user.version)
    if wanted.is_active not in {None, user.is_active} and ADMIN not in actor.permissions:
        raise AuthorizationError("Only administrators switch users on and off.")
    if actor.id == user_id and wanted.email not in {None, user.email} and not wanted.by_password:
        raise wrong_password("Name your password to change your address.")
    _refuse_if_last(administrators, user_id)
    before = user.email, user.is_active
    _apply(user, wanted)
    await _flush(session)
    return Changed(user, *before)


async def follow_address(session: AsyncSession, queue: JobQueue, changed: Changed) -> None:
    """After a change of address: open reset links end, and the old address is told, in the same transaction."""
    user, before = changed.user, changed.address_before
    if user.email != before:
        await void_password_resets(session, user.id)
        await queue.enqueue(session, "send_mail", {"to": before, "template": "email_changed", "values": {}})


async def follow_switch(session: AsyncSession, changed: Changed) -> None:
    """After a change of somebody who is off, or was: nothing that was given to them before works again.

    Also when they are switched on, because a release that ended nothing may have switched them off. Under the lock of
    their row, which signing in and setting a password by mail wait for; a refresh waits for its session's.
    """
    if not (changed.active_before and changed.user.is_active):
        await void_password_resets(session, changed.user.id)
        await revoke_sessions_of(session, changed.user.id, "user_switched_off")


async def remove(session: AsyncSession, user_id: UUID, matching: frozenset[str] | None) -> None:
    """Delete a user and everything of theirs. Raises NotFound, PreconditionFailed and Conflict errors."""
    administrators = await queries.lock_administrators(session)
    user = await queries.get_for_update(session, user_id)
    if user is None:
        raise no_such_user()
    require_match(matching, user.version)
    _refuse_if_last(administrators, user_id)
    await queries.remove(session, user_id)


def _ends_administrator(wanted: UserChange) -> bool:
    return wanted.is_active is False or (wanted.permissions is not None and ADMIN not in wanted.permissions)


def _refuse_if_last(administrators: Sequence[UUID], user_id: UUID) -> None:
    if list(administrators) == [user_id]:
        raise ConflictError("This is the last administrator: make somebody else one first.")


def _apply(user: User, wanted: UserChange) -> None:
    if wanted.email is not None:
        user.email = wanted.email
    if wanted.display_name is not None:
        user.display_name = wanted.display_name
    if wanted.is_active is not None:
        user.is_active = wanted.is_active
    if wanted.permissions is not None:
        user.permissions = sorted(set(wanted.permissions))
    user.version += 1
    user.updated_at = func.now()


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "users_email_key" in str(error.orig):
            raise ConflictError("This e-mail address is taken.") from None
        raise
