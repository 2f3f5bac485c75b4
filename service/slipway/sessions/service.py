"""Signing in, ending sessions, changing and resetting passwords."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from asyncpg import PostgresError
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from slipway.auth.accounts import end_email_change
from slipway.auth.addresses import address_key
from slipway.auth.dependencies import Principal, no_such_user
from slipway.auth.lifetimes import Lifetimes
from slipway.http.problems import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    ProblemDetail,
    UnavailableError,
    ValidationError,
)
from slipway.mail.links import MailedLink
from slipway.sessions import queries
from slipway.sessions.proof import compare, prove_password, verify
from slipway.sessions.queries import Account
from slipway.sessions.refresh import Grant
from slipway.sessions.secret_tokens import hash_token, new_token
from slipway.storage.audit import Action
from slipway.storage.models import new_id
from slipway.storage.unit import Transaction
from slipway.telemetry.registry import REGISTRY

if TYPE_CHECKING:
    from slipway.sessions.parts import SessionParts
    from slipway.settings import Settings
    from slipway.storage.engine import Database

SIGN_IN = Action("sessions", "sign_in")
REFUSE = Action("sessions", "refuse")
REVOKE = Action("sessions", "revoke")
END = Action("sessions", "end")
END_ALL = Action("users", "end_sessions")
REHASH = Action("users", "rehash")
CHANGE_PASSWORD = Action("users", "change_password")
ASK_RESET = Action("users", "ask_reset")
MAKE_RESET = Action("users", "make_reset")
RESET_PASSWORD = Action("users", "reset_password")

TRIES = 2
"""Comparisons with a stored hash: once more when another sign-in renewed it meanwhile."""

logger = logging.getLogger("slipway.sessions")

LOGINS = Counter(
    "slipway_logins_total", "Passwords checked for a sign-in: accepted or refused.", ("result",), registry=REGISTRY
)


class InvalidCredentialsError(AuthenticationError):
    code = "invalid_credentials"
    default_message = "E-mail address or password is wrong."


@dataclass(frozen=True, slots=True)
class Device:
    """Where a request comes from, as its owner sees it in the list of sessions."""

    address: str
    user_agent: str


async def sign_in(parts: SessionParts, email: str, password: str, device: Device) -> Grant:
    """Start a session. Raises InvalidCredentialsError, RateLimitedError (back-off), UnavailableError (overload).

    Unknown address, wrong password and switched-off account are one reply, after the same work.
    """
    account = await queries.account_by_email(parts.database, email)
    # Spellings that the look-up takes for one address share a counter, whether there is an account or not.
    reservation = await parts.throttle.reserve(str(account.id) if account else address_key(email), device.address)
    verdict = await compare(parts, reservation, password, account)
    for tries_left in reversed(range(TRIES)):
        if account is None or not verdict.ok or not account.is_active:
            break
        grant = await _start_session(parts, account, device)
        if grant is not None:
            LOGINS.labels("accepted").inc()
            if verdict.needs_rehash:
                await _renew_hash(parts, account, password)
            return grant
        if tries_left:
            account = await _read_again(parts, account.id)
            verdict = await verify(parts, password, account)
    LOGINS.labels("refused").inc()
    await parts.database.unit(REFUSE, partial(_refused, account))
    raise InvalidCredentialsError


async def _refused(account: Account | None, transaction: Transaction) -> None:
    """Nothing but the row of the audit log; whose account it was is there, what was typed isn't."""
    transaction.entry.actor = account.id if account else None
    await transaction.begin()


async def _read_again(parts: SessionParts, user_id: UUID) -> Account | None:
    return await parts.database.read(lambda session: queries.account_by_id(session, user_id))


async def _renew_hash(parts: SessionParts, account: Account, password: str) -> None:
    """Store the hash with today's parameters, unless the password was changed or the hash renewed meanwhile.

    In a transaction of its own: sign-ins share a lock on the user's row, and two that both raise it to a write would
    wait for each other. Fails nobody: the sign-in is done, and another day will do.
    """
    try:
        renewed = await parts.passwords.rehash(password)

        async def work(transaction: Transaction) -> None:
            transaction.entry.resource = transaction.entry.actor = account.id
            if not await queries.set_password(transaction, account.id, renewed, instead_of=account.password_hash):
                transaction.leave_nothing()

        await parts.database.unit(REHASH, work)
    except (UnavailableError, SQLAlchemyError, PostgresError, OSError) as error:
        logger.warning("A password's hash was not renewed.", extra={"error": type(error).__name__})


async def _start_session(parts: SessionParts, account: Account, device: Device) -> Grant | None:
    """None when the password is another than the one that was verified."""
    token, session_id = new_token(), new_id()
    left = Lifetimes.of(parts.settings).first

    async def work(transaction: Transaction) -> Grant | None:
        transaction.entry.resource = transaction.entry.session = session_id
        transaction.entry.actor = account.id
        # The password may have been changed, and the sessions ended, while the old one was being verified.
        if not await queries.lock_verified_account(transaction, account):
            transaction.leave_nothing()
            return None
        seen = {"address": device.address, "user_agent": device.user_agent}
        await queries.add_session(transaction, session_id, account.id, left, hash_token(token), **seen)
        return Grant(account.id, session_id, account.permissions, token, left)

    return await parts.database.unit(SIGN_IN, work)


async def revoke_token(parts: SessionParts, token: str) -> None:
    """End the session that an access or a refresh token is of; nothing where there is none.

    A refresh token that was used already names its session too: who shows it may have kept it, or lost the next one.
    """
    claims = parts.tokens.claims(token)

    async def work(transaction: Transaction) -> UUID | None:
        found = claims or await queries.session_of(transaction, hash_token(token))
        if found is None:
            transaction.leave_nothing()
            return None
        # Whoever shows a token is taken for its owner.
        transaction.entry.resource = transaction.entry.session = found.session_id
        transaction.entry.actor = found.user_id
        if not await queries.revoke_session(transaction, found.session_id, "token_revoked"):
            transaction.leave_nothing()
        return found.session_id

    session_id = await parts.database.unit(REVOKE, work)
    if session_id is not None:
        parts.principals.forget([session_id])


async def end_session(transaction: Transaction, actor: Principal, session_id: UUID, lifetimes: Lifetimes) -> None:
    """End one's own session, or as an administrator anyone's. Raises NotFoundError for all others alike."""
    transaction.entry.resource = session_id
    owner = await queries.owner_of_live(transaction, session_id, lifetimes)
    if owner is None or not actor.may_see(owner):
        raise NotFoundError("There is no such session.")
    await queries.revoke_session(transaction, session_id, _ended_by(actor, owner))


async def end_sessions(transaction: Transaction, actor: Principal, owner: UUID, *, keep: UUID | None) -> Sequence[UUID]:
    """End all sessions of `owner` but `keep`; the ids of those ended. Raises NotFoundError where there is no owner."""
    transaction.entry.resource = owner
    if not await queries.lock_user(transaction, owner):
        raise no_such_user()
    ended = await queries.revoke_sessions_of(transaction, owner, _ended_by(actor, owner), keep=keep)
    if not ended:
        transaction.leave_nothing()
    return ended


def _ended_by(actor: Principal, owner: UUID) -> str:
    return "signed_out" if owner == actor.id else "ended_by_administrator"


async def change_password(parts: SessionParts, actor: Principal, current: str, new: str, address: str) -> None:
    """Set a new password and end the other sessions.

    Raises ValidationError when the current one is wrong or the new one breaks the rules, RateLimitedError, and
    ConflictError when another change came between.
    """
    parts.passwords.check(new, location="body.new_password")
    account: Account | None = await prove_password(parts, actor, current, address)
    password_hash = await parts.passwords.hash(new, location="body.new_password")
    for tries_left in reversed(range(TRIES)):
        if account is not None and await _store_password(parts, actor, account, password_hash):
            return
        if tries_left:
            # A sign-in may have renewed the hash; only another password is a conflict.
            account = await _read_again(parts, actor.id)
            if not (await verify(parts, current, account)).ok:
                break
    raise ConflictError("Your password was changed meanwhile.")


async def _store_password(parts: SessionParts, actor: Principal, account: Account, password_hash: str) -> bool:
    """Replace the hash that was verified and end the other sessions; False when it isn't the one stored any more."""

    async def work(transaction: Transaction) -> Sequence[UUID] | None:
        transaction.entry.resource = actor.id
        if not await queries.set_password(transaction, actor.id, password_hash, instead_of=account.password_hash):
            transaction.leave_nothing()
            return None
        await queries.void_password_resets(transaction, actor.id)
        await end_email_change(transaction, actor.id)
        return await queries.revoke_sessions_of(transaction, actor.id, "password_changed", keep=actor.session_id)

    ended = await parts.database.unit(CHANGE_PASSWORD, work)
    if ended is None:
        return False
    parts.principals.forget(ended)
    parts.principals.forget_user(actor.id)
    return True


async def request_password_reset(parts: SessionParts, email: str, address: str) -> None:
    """Have a reset mail sent if the address is somebody's. Raises RateLimitedError.

    Nobody is looked up here: the job does that, so that known and unknown addresses take the same time.
    """
    await parts.throttle.reserve(address_key(email), address, purpose="reset")
    mail: dict[str, object] = {"to": email, "template": "password_reset", "values": {}}
    await parts.database.unit(ASK_RESET, lambda transaction: parts.queue.enqueue(transaction, "send_mail", mail))


async def new_reset_link(database: Database, settings: Settings, email: str) -> MailedLink | None:
    """For the mail job: a fresh link for the user of an address, committed; None when there is no such active user.

    Made here and not when it is asked for, so that the token is in the mail and nowhere else: neither in the queue's
    table, nor among its dead letters, nor in a backup. A repeated job makes another; using one voids the rest.
    """
    token = new_token()

    async def work(transaction: Transaction) -> Account | None:
        # Locked, so that a link is never made for an address that is being given up.
        account = await queries.account_by_email(transaction, email, lock=True)
        if account is None or not account.is_active:
            transaction.leave_nothing()
            return None
        transaction.entry.resource = account.id
        lifetime = timedelta(seconds=settings.password_reset_ttl)
        await queries.add_password_reset(transaction, account.id, hash_token(token), lifetime)
        return account

    account = await database.unit(MAKE_RESET, work)
    if account is None:
        return None
    return MailedLink(account.email, settings.password_reset_url.replace("{token}", token))


async def confirm_password_reset(parts: SessionParts, token: str, new: str) -> None:
    """Set a new password by a mailed token, once, and end all sessions. Raises ValidationError."""
    token_hash = hash_token(token)
    # Asked first, so that made-up tokens don't cost a hash each; only the write below decides.
    user_id = await parts.database.read(lambda session: queries.owner_of_reset(session, token_hash))
    if user_id is None:
        raise _invalid_reset()
    password_hash = await parts.passwords.hash(new, location="body.new_password")

    async def work(transaction: Transaction) -> Sequence[UUID]:
        transaction.entry.resource = transaction.entry.actor = user_id
        # The user's row before the tokens', as everywhere: two links used at once don't deadlock.
        stored = await queries.set_password(transaction, user_id, password_hash, instead_of=None)
        if not stored or not await queries.use_password_reset(transaction, token_hash):
            raise _invalid_reset()
        await queries.void_password_resets(transaction, user_id)
        await end_email_change(transaction, user_id)
        await parts.throttle.forget_account(transaction, str(user_id))
        return await queries.revoke_sessions_of(transaction, user_id, "password_reset")

    ended = await parts.database.unit(RESET_PASSWORD, work)
    parts.principals.forget(ended)


def _invalid_reset() -> ValidationError:
    fault = ProblemDetail(location="body.token", message="This link is not valid any more: ask for a new one.")
    return ValidationError(details=[fault])
