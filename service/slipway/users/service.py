"""What may be done with users, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth.dependencies import Principal, no_such_user
from slipway.auth.models import User
from slipway.auth.permissions import ADMIN
from slipway.auth.principals import SessionUser
from slipway.http.preconditions import Preconditions, require_match
from slipway.http.problems import AuthorizationError, ConflictError
from slipway.sessions.proof import wrong_password
from slipway.sessions.queries import revoke_sessions_of, void_password_resets
from slipway.sessions.throttle import LoginThrottle
from slipway.users import email_changes, queries
from slipway.users.schemas import UserCreate

if TYPE_CHECKING:
    from slipway.users.parts import UserParts


@dataclass(frozen=True, slots=True)
class UserChange:
    """New values; None leaves a column as it is."""

    email: str | None = None
    display_name: str | None = None
    is_active: bool | None = None
    permissions: Sequence[str] | None = None
    by_password: bool = False
    """Whether the actor has just named their password."""
    whole: bool = False
    """Whether all had to be named: that the address is the present one says nothing then of one that is pending."""

    @property
    def without_address(self) -> UserChange:
        return replace(self, email=None)

    @property
    def is_empty(self) -> bool:
        return {self.email, self.display_name, self.is_active} == {None} and self.permissions is None


class Changed(NamedTuple):
    """A user after a change, what they were before it, and what about their address is still to be done."""

    user: User
    address_before: str
    active_before: bool
    asked_for: str | None
    withdraws: bool
    is_applied: bool


def shown_version(user: User | SessionUser) -> str:
    """What the ETag names: the row's version, and the address that waits to be confirmed, which runs out by itself."""
    if user.pending_email is None:
        return str(user.version)
    return f"{user.version}.{sha256(user.pending_email.encode()).hexdigest()[:16]}"


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
    session: AsyncSession, actor: Principal, user_id: UUID, wanted: UserChange, matching: Preconditions
) -> Changed:
    """Apply a change to a locked row, but for one's own address: that is asked for, and confirmed by mail.

    Raises NotFound, Authorization, PreconditionFailed and Conflict errors, and ValidationError where the password of
    the actor is needed: whoever stole a token could otherwise take the account over, by a reset to their own address.
    """
    require_visible(actor, user_id)
    # Locks in one order everywhere: administrators first, then the row.
    administrators = await queries.lock_administrators(session) if _ends_administrator(wanted) else ()
    user = await queries.get_for_update(session, user_id)
    if user is None:
        raise no_such_user()
    require_match(matching, shown_version(user))
    if wanted.is_active not in {None, user.is_active} and ADMIN not in actor.permissions:
        raise AuthorizationError("Only administrators switch users on and off.")
    other = wanted.email not in {None, user.email}
    asks = other and actor.id == user_id
    if asks and not wanted.by_password:
        raise wrong_password("Name your password to change your address.")
    _refuse_if_last(administrators, user_id)
    before = user.email, user.is_active
    applied = wanted if other and not asks else wanted.without_address
    if not applied.is_empty:
        _apply(user, applied)
        await _flush(session)
    withdraws = wanted.email is not None and not other and not wanted.whole
    return Changed(user, *before, wanted.email if asks else None, withdraws, not applied.is_empty)


async def follow_address(session: AsyncSession, parts: UserParts, changed: Changed) -> None:
    """What a change of address brings with it, in the same transaction. Raises RateLimitedError."""
    user, before = changed.user, changed.address_before
    if user.email != before:
        await email_changes.changed_from(session, parts.queue, user, before)
    elif changed.withdraws:
        await email_changes.withdraw(session, user)
    elif changed.asked_for is not None:
        await email_changes.ask(session, parts, user, changed.asked_for)


async def follow_switch(session: AsyncSession, throttle: LoginThrottle, changed: Changed) -> None:
    """After a change of somebody who is off, or was: nothing that was given to them before works again.

    Also when they are switched on, because a release that ended nothing may have switched them off. Under the lock of
    their row, which signing in and setting a password by mail wait for; a refresh waits for its session's. Failures
    are forgotten then: those of the right password were counted, too.
    """
    if not (changed.active_before and changed.user.is_active):
        await void_password_resets(session, changed.user.id)
        await email_changes.withdraw(session, changed.user)
        await throttle.forget_account(session, str(changed.user.id))
        await revoke_sessions_of(session, changed.user.id, "user_switched_off")


async def remove(session: AsyncSession, user_id: UUID, matching: Preconditions) -> None:
    """Delete a user and everything of theirs. Raises NotFound, PreconditionFailed and Conflict errors."""
    administrators = await queries.lock_administrators(session)
    user = await queries.get_for_update(session, user_id)
    if user is None:
        raise no_such_user()
    require_match(matching, shown_version(user))
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
