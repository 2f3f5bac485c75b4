"""Changing one's own address: asked for with the password, done by the link that is mailed to the new address.

Asking looks nobody up. Who has an account is decided by the mail job, which alone knows, and at last on confirming: so
no reply, no status and no time tells the asker about another account. What is pending ends with whatever speaks for
the account's owner: a new password, a reset, another address, being switched off.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.auth import accounts
from slipway.auth.addresses import address_key
from slipway.auth.models import User
from slipway.http.problems import ProblemDetail, RateLimitedError, ValidationError
from slipway.jobs.queue import JobQueue
from slipway.mail.links import AddressTaken, MailedLink
from slipway.sessions.queries import void_password_resets
from slipway.sessions.secret_tokens import hash_token, new_token
from slipway.users import queries

if TYPE_CHECKING:
    from slipway.settings import Settings
    from slipway.storage.engine import Database
    from slipway.users.parts import UserParts

MAIL_JOB = "send_address_mail"
"""Apart from `send_mail`, whose workers of an earlier release know none of these mails."""


async def ask(session: AsyncSession, parts: UserParts, user: User, email: str) -> None:
    """Put a change down, instead of an earlier one, and have its mails sent. The caller holds the user's row.

    Raises RateLimitedError. Mail to one address is limited too, whoever asks, and in silence: that others asked for
    it is not the asker's to know.
    """
    wait = await parts.throttle.count_mail(session, "user", str(user.id))
    if wait:
        raise RateLimitedError("Too many changes of address: wait as long as Retry-After says.", retry_after=wait)
    lifetime = timedelta(seconds=parts.settings.email_change_ttl)
    await queries.put_email_change(session, user, email, lifetime)
    user.pending_email = email
    await _enqueue(session, parts.queue, user.email, "email_change_asked")
    if not await parts.throttle.count_mail(session, "address", address_key(email)):
        await _enqueue(session, parts.queue, email, "email_change", user_id=str(user.id))


async def _enqueue(session: AsyncSession, queue: JobQueue, to: str, template: str, **values: str) -> None:
    await queue.enqueue(session, MAIL_JOB, {"to": to, "template": template, "values": values})


async def withdraw(session: AsyncSession, user: User) -> None:
    """What was asked for isn't wanted any more; its links are dead. The caller holds the user's row."""
    await accounts.end_email_change(session, user.id)
    user.pending_email = None


async def changed_from(session: AsyncSession, queue: JobQueue, user: User, before: str) -> None:
    """After a change of address: what was open for the old one ends, and the old one is told, in one transaction."""
    await withdraw(session, user)
    await void_password_resets(session, user.id)
    await queue.enqueue(session, "send_mail", {"to": before, "template": "email_changed", "values": {}})


async def new_link(
    database: Database, settings: Settings, user_id: UUID, email: str
) -> MailedLink | AddressTaken | None:
    """For the mail job: a fresh link, committed; None when that change isn't wanted any more.

    AddressTaken where somebody has the address: then nobody gets a link, and its owner is told. Made here, so that the
    token is in the mail and nowhere else. A repeated job makes another; either confirms.
    """
    token = new_token()
    async with database.transaction() as session:
        if not await queries.email_change_is_wanted(session, user_id, email):
            return None
        owner = await queries.get_by_email(session, email)
        if owner is not None and owner.id != user_id:
            return AddressTaken(owner.email) if owner.is_active else None
        await queries.add_email_change_token(session, user_id, email, hash_token(token))
    return MailedLink(email, (settings.email_change_url or "{token}").replace("{token}", token))


async def confirm(parts: UserParts, token: str) -> None:
    """Give the user of a mailed token the address that it was mailed to, once. Raises ValidationError.

    Also where somebody else has that address by now: who holds the token reads that mailbox, and nobody else learns it.
    """
    token_hash = hash_token(token)
    async with parts.database.transaction() as session:
        user_id = await queries.asker_of(session, token_hash)
        # The user's row before that of the change, as everywhere.
        user = await queries.get_for_update(session, user_id) if user_id is not None else None
        email = await queries.use_email_change(session, token_hash, user) if user is not None else None
        if user is None or email is None or not user.is_active:
            raise _invalid_link()
        before, user.email = user.email, email
        user.version += 1
        user.updated_at = func.now()
        try:
            await session.flush()
        except IntegrityError:
            raise _invalid_link() from None
        await changed_from(session, parts.queue, user, before)
    parts.principals.forget_user(user.id)


def _invalid_link() -> ValidationError:
    fault = ProblemDetail(location="body.token", message="This link is not valid any more: ask for the change again.")
    return ValidationError(details=[fault])
