"""Signing in, ending sessions, changing and resetting passwords."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import func
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

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
from slipway.sessions.models import Session
from slipway.sessions.proof import compare, prove_password, verify
from slipway.sessions.queries import Account
from slipway.sessions.refresh import Grant
from slipway.sessions.secret_tokens import hash_token, new_token
from slipway.storage.models import new_id
from slipway.telemetry.registry import REGISTRY

if TYPE_CHECKING:
    from slipway.sessions.parts import SessionParts
    from slipway.settings import Settings
    from slipway.storage.engine import Database

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
    account = await parts.database.read(lambda session: queries.account_by_email(session, email))
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
    raise InvalidCredentialsError


async def _read_again(parts: SessionParts, user_id: UUID) -> Account | None:
    return await parts.database.read(lambda session: queries.account_by_id(session, user_id))


async def _renew_hash(parts: SessionParts, account: Account, password: str) -> None:
    """Store the hash with today's parameters, unless the password was changed or the hash renewed meanwhile.

    In a transaction of its own: sign-ins share a lock on the user's row, and two that both raise it to a write would
    wait for each other. Fails nobody: the sign-in is done, and another day will do.
    """
    try:
        renewed = await parts.passwords.rehash(password)
        async with parts.database.transaction() as session:
            await queries.set_password(session, account.id, renewed, instead_of=account.password_hash)
    except (UnavailableError, SQLAlchemyError, OSError) as error:
        logger.warning("A password's hash was not renewed.", extra={"error": type(error).__name__})


async def _start_session(parts: SessionParts, account: Account, device: Device) -> Grant | None:
    """None when the password is another than the one that was verified."""
    token = new_token()
    left = Lifetimes.of(parts.settings).first
    row = Session(
        id=new_id(),
        user_id=account.id,
        expires_at=func.now() + left,
        address=device.address,
        user_agent=device.user_agent,
    )
    async with parts.database.transaction() as session:
        # The password may have been changed, and the sessions ended, while the old one was being verified.
        if not await queries.lock_verified_account(session, account):
            return None
        await queries.add_session(session, row, hash_token(token))
    return Grant(account.id, row.id, account.permissions, token, left)


async def revoke_token(parts: SessionParts, token: str) -> None:
    """End the session that an access or a refresh token is of; nothing where there is none.

    A refresh token that was used already names its session too: who shows it may have kept it, or lost the next one.
    """
    claims = parts.tokens.claims(token)
    async with parts.database.transaction() as session:
        session_id = claims.session_id if claims else await queries.session_of(session, hash_token(token))
        if session_id is not None:
            await queries.revoke_session(session, session_id, "token_revoked")
    if session_id is not None:
        parts.principals.forget([session_id])


async def end_session(session: AsyncSession, actor: Principal, session_id: UUID, lifetimes: Lifetimes) -> None:
    """End one's own session, or as an administrator anyone's. Raises NotFoundError for all others alike."""
    owner = await queries.owner_of_live(session, session_id, lifetimes)
    if owner is None or not actor.may_see(owner):
        raise NotFoundError("There is no such session.")
    await queries.revoke_session(session, session_id, _ended_by(actor, owner))


async def end_sessions(session: AsyncSession, actor: Principal, owner: UUID, *, keep: UUID | None) -> Sequence[UUID]:
    """End all sessions of `owner` but `keep`; the ids of those ended. Raises NotFoundError where there is no owner."""
    if not await queries.lock_user(session, owner):
        raise no_such_user()
    return await queries.revoke_sessions_of(session, owner, _ended_by(actor, owner), keep=keep)


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
    async with parts.database.transaction() as session:
        if not await queries.set_password(session, actor.id, password_hash, instead_of=account.password_hash):
            return False
        await queries.void_password_resets(session, actor.id)
        await end_email_change(session, actor.id)
        ended = await queries.revoke_sessions_of(session, actor.id, "password_changed", keep=actor.session_id)
    parts.principals.forget(ended)
    parts.principals.forget_user(actor.id)
    return True


async def request_password_reset(parts: SessionParts, email: str, address: str) -> None:
    """Have a reset mail sent if the address is somebody's. Raises RateLimitedError.

    Nobody is looked up here: the job does that, so that known and unknown addresses take the same time.
    """
    await parts.throttle.reserve(address_key(email), address, purpose="reset")
    async with parts.database.transaction() as session:
        mail: dict[str, object] = {"to": email, "template": "password_reset", "values": {}}
        await parts.queue.enqueue(session, "send_mail", mail)


async def new_reset_link(database: Database, settings: Settings, email: str) -> MailedLink | None:
    """For the mail job: a fresh link for the user of an address, committed; None when there is no such active user.

    Made here and not when it is asked for, so that the token is in the mail and nowhere else: neither in the queue's
    table, nor among its dead letters, nor in a backup. A repeated job makes another; using one voids the rest.
    """
    token = new_token()
    async with database.transaction() as session:
        # Locked, so that a link is never made for an address that is being given up.
        account = await queries.account_by_email(session, email, lock=True)
        if account is None or not account.is_active:
            return None
        lifetime = timedelta(seconds=settings.password_reset_ttl)
        await queries.add_password_reset(session, account.id, hash_token(token), lifetime)
    return MailedLink(account.email, settings.password_reset_url.replace("{token}", token))


async def confirm_password_reset(parts: SessionParts, token: str, new: str) -> None:
    """Set a new password by a mailed token, once, and end all sessions. Raises ValidationError."""
    token_hash = hash_token(token)
    # Asked first, so that made-up tokens don't cost a hash each; only the write below decides.
    user_id = await parts.database.read(lambda session: queries.owner_of_reset(session, token_hash))
    if user_id is None:
        raise _invalid_reset()
    password_hash = await parts.passwords.hash(new, location="body.new_password")
    async with parts.database.transaction() as session:
        # The user's row before the tokens', as everywhere: two links used at once don't deadlock.
        stored = await queries.set_password(session, user_id, password_hash, instead_of=None)
        if not stored or not await queries.use_password_reset(session, token_hash):
            raise _invalid_reset()
        await queries.void_password_resets(session, user_id)
        await end_email_change(session, user_id)
        await parts.throttle.forget_account(session, str(user_id))
        ended = await queries.revoke_sessions_of(session, user_id, "password_reset")
    parts.principals.forget(ended)


def _invalid_reset() -> ValidationError:
    fault = ProblemDetail(location="body.token", message="This link is not valid any more: ask for a new one.")
    return ValidationError(details=[fault])
