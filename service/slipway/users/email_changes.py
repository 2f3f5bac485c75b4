"""Changing one's own address: asked for with the password, done by the link that is mailed to the new address.

Asking looks nobody up. Who has an account is decided by the mail job, which alone knows, and at last on confirming: so
no reply, no status and no time tells the asker about another account. What is pending ends with whatever speaks for
the account's owner: a new password, a reset, another address, being switched off.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from asyncpg import UniqueViolationError

from slipway.auth import accounts
from slipway.auth.addresses import address_key
from slipway.http.problems import ProblemDetail, RateLimitedError, ValidationError
from slipway.jobs.queue import JobQueue
from slipway.mail.links import AddressTaken, MailedLink
from slipway.sessions.queries import void_password_resets
from slipway.sessions.secret_tokens import hash_token, new_token
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.users import queries
from slipway.users.queries import Known

if TYPE_CHECKING:
    from slipway.settings import Settings
    from slipway.storage.engine import Database
    from slipway.users.parts import UserParts

CONFIRM = Action("users", "confirm_address")
MAKE_LINK = Action("users", "make_address_link")

MAIL_JOB = "send_address_mail"
"""Apart from `send_mail`, whose workers of an earlier release know none of these mails."""


async def ask(transaction: Transaction, parts: UserParts, user: Known, email: str) -> Known:
    """Put a change down, instead of an earlier one, and have its mails sent. The caller holds the user's row.

    Raises RateLimitedError. Mail to one address is limited too, whoever asks, and in silence: that others asked for
    it is not the asker's to know.
    """
    wait = await parts.throttle.count_mail(transaction, "user", str(user.id))
    if wait:
        raise RateLimitedError("Too many changes of address: wait as long as Retry-After says.", retry_after=wait)
    lifetime = timedelta(seconds=parts.settings.email_change_ttl)
    await queries.put_email_change(transaction, user, email, lifetime)
    await _enqueue(transaction, parts.queue, user.email, "email_change_asked")
    if not await parts.throttle.count_mail(transaction, "address", address_key(email)):
        await _enqueue(transaction, parts.queue, email, "email_change", user_id=str(user.id))
    return replace(user, pending_email=email)


async def _enqueue(transaction: Transaction, queue: JobQueue, to: str, template: str, **values: str) -> None:
    await queue.enqueue(transaction, MAIL_JOB, {"to": to, "template": template, "values": values})


async def withdraw(transaction: Transaction, user: Known) -> Known:
    """What was asked for isn't wanted any more; its links are dead. The caller holds the user's row."""
    await accounts.end_email_change(transaction, user.id)
    return replace(user, pending_email=None)


async def changed_from(transaction: Transaction, queue: JobQueue, user: Known, before: str) -> Known:
    """After a change of address: what was open for the old one ends, and the old one is told, in one transaction."""
    await void_password_resets(transaction, user.id)
    await queue.enqueue(transaction, "send_mail", {"to": before, "template": "email_changed", "values": {}})
    return await withdraw(transaction, user)


async def new_link(
    database: Database, settings: Settings, user_id: UUID, email: str
) -> MailedLink | AddressTaken | None:
    """For the mail job: a fresh link, committed; None when that change isn't wanted any more.

    AddressTaken where somebody has the address: then nobody gets a link, and its owner is told. Made here, so that the
    token is in the mail and nowhere else. A repeated job makes another; either confirms.
    """
    token = new_token()

    async def work(transaction: Transaction) -> MailedLink | AddressTaken | None:
        transaction.entry.resource = user_id
        if not await queries.email_change_is_wanted(transaction, user_id, email):
            transaction.leave_nothing()
            return None
        owner = await queries.get_by_email(transaction, email)
        if owner is not None and owner.id != user_id:
            transaction.leave_nothing()
            return AddressTaken(owner.email) if owner.is_active else None
        await queries.add_email_change_token(transaction, user_id, email, hash_token(token))
        return MailedLink(email, (settings.email_change_url or "{token}").replace("{token}", token))

    return await database.unit(MAKE_LINK, work)


async def confirm(parts: UserParts, token: str) -> None:
    """Give the user of a mailed token the address that it was mailed to, once. Raises ValidationError.

    Also where somebody else has that address by now: who holds the token reads that mailbox, and nobody else learns it.
    """
    token_hash = hash_token(token)

    async def work(transaction: Transaction) -> UUID:
        user_id = await queries.asker_of(transaction, token_hash)
        # The user's row before that of the change, as everywhere.
        user = await queries.get_for_update(transaction, user_id) if user_id is not None else None
        email = await queries.use_email_change(transaction, token_hash, user) if user is not None else None
        if user is None or email is None or not user.is_active:
            raise _invalid_link()
        transaction.entry.resource = transaction.entry.actor = user.id
        try:
            changed = await queries.change(transaction, user, email=email)
        except UniqueViolationError:
            raise _invalid_link() from None
        await changed_from(transaction, parts.queue, changed, user.email)
        return user.id

    parts.principals.forget_user(await parts.database.unit(CONFIRM, work))


def _invalid_link() -> ValidationError:
    fault = ProblemDetail(location="body.token", message="This link is not valid any more: ask for the change again.")
    return ValidationError(details=[fault])
