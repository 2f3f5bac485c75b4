"""What may be done with users, and by whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from asyncpg import UniqueViolationError

from slipway.auth.dependencies import Principal, no_such_user
from slipway.auth.models import User
from slipway.auth.permissions import ADMIN
from slipway.auth.principals import SessionUser
from slipway.http.preconditions import Preconditions, require_match
from slipway.http.problems import AuthorizationError, ConflictError
from slipway.sessions.proof import wrong_password
from slipway.sessions.queries import revoke_sessions_of, void_password_resets
from slipway.sessions.throttle import LoginThrottle
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.users import email_changes, queries
from slipway.users.queries import Known
from slipway.users.schemas import UserCreate

if TYPE_CHECKING:
    from slipway.users.parts import UserParts


CREATE = Action("users", "create")
CHANGE = Action("users", "change")
DELETE = Action("users", "delete")


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
    def columns(self) -> dict[str, Any]:
        return {
            "email": self.email,
            "display_name": self.display_name,
            "is_active": self.is_active,
            "permissions": self.permissions,
        }

    @property
    def without_address(self) -> UserChange:
        return replace(self, email=None)

    @property
    def is_empty(self) -> bool:
        return {self.email, self.display_name, self.is_active} == {None} and self.permissions is None


class Changed(NamedTuple):
    """A user after a change, what they were before it, and what about their address is still to be done."""

    user: Known
    address_before: str
    active_before: bool
    asked_for: str | None
    withdraws: bool
    is_applied: bool


def shown_version(user: User | Known | SessionUser) -> str:
    """What the ETag names: the row's version, and the address that waits to be confirmed, which runs out by itself."""
    if user.pending_email is None:
        return str(user.version)
    return f"{user.version}.{sha256(user.pending_email.encode()).hexdigest()[:16]}"


def require_visible(actor: Principal, user_id: UUID) -> None:
    """Raises NotFoundError for strangers, so that nobody learns who exists."""
    if not actor.may_see(user_id):
        raise no_such_user()


async def create(transaction: Transaction, new: UserCreate, password_hash: str) -> Known:
    """Raises ConflictError when the address is taken."""
    with _address_taken():
        return await queries.add(transaction, new.email, new.display_name, password_hash, new.permissions)


async def change(
    transaction: Transaction, actor: Principal, user_id: UUID, wanted: UserChange, matching: Preconditions
) -> Changed:
    """Apply a change to a locked row, but for one's own address: that is asked for, and confirmed by mail.

    Raises NotFound, Authorization, PreconditionFailed and Conflict errors, and ValidationError where the password of
    the actor is needed: whoever stole a token could otherwise take the account over, by a reset to their own address.
    """
    require_visible(actor, user_id)
    transaction.entry.resource = user_id
    # Locks in one order everywhere: administrators first, then the row.
    administrators = await queries.lock_administrators(transaction) if _ends_administrator(wanted) else ()
    user = await queries.get_for_update(transaction, user_id)
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
        with _address_taken():
            user = await queries.change(transaction, user, **applied.columns)
    withdraws = wanted.email is not None and not other and not wanted.whole
    return Changed(user, *before, wanted.email if asks else None, withdraws, not applied.is_empty)


async def follow_address(transaction: Transaction, parts: UserParts, changed: Changed) -> Changed:
    """What a change of address brings with it, in the same transaction. Raises RateLimitedError."""
    user, before = changed.user, changed.address_before
    if user.email != before:
        user = await email_changes.changed_from(transaction, parts.queue, user, before)
    elif changed.withdraws:
        user = await email_changes.withdraw(transaction, user)
    elif changed.asked_for is not None:
        user = await email_changes.ask(transaction, parts, user, changed.asked_for)
    return changed._replace(user=user)


async def follow_switch(transaction: Transaction, throttle: LoginThrottle, changed: Changed) -> Changed:
    """After a change of somebody who is off, or was: nothing that was given to them before works again.

    Also when they are switched on, because a release that ended nothing may have switched them off. Under the lock of
    their row, which signing in and setting a password by mail wait for; a refresh waits for its session's. Failures
    are forgotten then: those of the right password were counted, too.
    """
    if changed.active_before and changed.user.is_active:
        return changed
    await void_password_resets(transaction, changed.user.id)
    user = await email_changes.withdraw(transaction, changed.user)
    await throttle.forget_account(transaction, str(user.id))
    await revoke_sessions_of(transaction, user.id, "user_switched_off")
    return changed._replace(user=user)


async def remove(transaction: Transaction, user_id: UUID, matching: Preconditions) -> None:
    """Delete a user and everything of theirs. Raises NotFound, PreconditionFailed and Conflict errors."""
    transaction.entry.resource = user_id
    administrators = await queries.lock_administrators(transaction)
    user = await queries.get_for_update(transaction, user_id)
    if user is None:
        raise no_such_user()
    require_match(matching, shown_version(user))
    _refuse_if_last(administrators, user_id)
    await queries.remove(transaction, user_id)


def _ends_administrator(wanted: UserChange) -> bool:
    return wanted.is_active is False or (wanted.permissions is not None and ADMIN not in wanted.permissions)


def _refuse_if_last(administrators: Sequence[UUID], user_id: UUID) -> None:
    if list(administrators) == [user_id]:
        raise ConflictError("This is the last administrator: make somebody else one first.")


@contextmanager
def _address_taken() -> Iterator[None]:
    try:
        yield
    except UniqueViolationError as error:
        if "users_email_key" in (error.constraint_name or ""):
            raise ConflictError("This e-mail address is taken.") from None
        raise
