"""The job that writes a mail and hands it to the mailer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, NamedTuple
from uuid import UUID

from email_validator import EmailNotValidError, validate_email

from slipway.jobs.kinds import Job, JobError
from slipway.mail.links import AddressTaken, MailedLink
from slipway.mail.mailer import Mailer
from slipway.mail.templates import (
    EMAIL_CHANGE,
    EMAIL_CHANGE_ASKED,
    EMAIL_CHANGE_BY_LINK,
    EMAIL_CHANGE_BY_TOKEN,
    EMAIL_CHANGED,
    EMAIL_TAKEN,
    PASSWORD_RESET,
    WELCOME,
    Template,
    in_words,
)
from slipway.settings import Settings

JOBS = ("send_mail", "send_address_mail")
"""What the job is queued as. The second name is for mails that workers of the first release can't write."""

ResetLink = Callable[[str], Awaitable[MailedLink | None]]
"""Makes a link that sets a new password for the user of an address; None when there is no such user."""

ChangeLink = Callable[[UUID, str], Awaitable[MailedLink | AddressTaken | None]]
"""Makes a link by which a user takes an address; None when they don't want it any more."""


class _Letter(NamedTuple):
    to: str
    subject: str
    body: str


def _letter(to: str, template: Template, **values: object) -> _Letter:
    return _Letter(to, template.subject, template.render(values))


class MailJob:
    """Payload: `to`, `template` and `values`, what the template shows or, for a link, whose it is."""

    def __init__(self, settings: Settings, mailer: Mailer, reset_link: ResetLink, change_link: ChangeLink) -> None:
        self._sender = settings.mail_from
        self._reset_lasting = in_words(settings.password_reset_ttl)
        self._mailer = mailer
        self._reset_link = reset_link
        self._change_link = change_link
        self._confirm_how = EMAIL_CHANGE_BY_LINK if settings.email_change_url else EMAIL_CHANGE_BY_TOKEN
        self._change_lasting = in_words(settings.email_change_ttl)

    async def run(self, job: Job) -> None:
        """Raises JobError; final where the payload is at fault."""
        values = job.payload.get("values") or {}
        letter = await self._write(str(job.payload["template"]), str(job.payload["to"]), values)
        if letter is not None:
            to = address(letter.to)
            await self._mailer.send(self._message(job, to, letter), str(to))

    async def _write(self, name: str, to: str, values: dict[str, Any]) -> _Letter | None:
        if name == "welcome":
            return _letter(to, WELCOME, greeting=f"Hello {values.get('name') or ''}")
        if name == "email_changed":
            return _letter(to, EMAIL_CHANGED)
        if name == "password_reset":
            made = await self._reset_link(to)
            return made and _letter(made.to, PASSWORD_RESET, link=made.link, lasting=self._reset_lasting)
        if name == "email_change_asked":
            return _letter(to, EMAIL_CHANGE_ASKED)
        if name == "email_change":
            return await self._write_change(UUID(str(values["user_id"])), to)
        raise JobError("There is no mail template of that name.", final=True)

    async def _write_change(self, user_id: UUID, to: str) -> _Letter | None:
        made = await self._change_link(user_id, to)
        if isinstance(made, AddressTaken):
            return _letter(made.to, EMAIL_TAKEN)
        shown = {"how": self._confirm_how, "lasting": self._change_lasting}
        return made and _letter(made.to, EMAIL_CHANGE, link=made.link, **shown)

    def _message(self, job: Job, to: Address, letter: _Letter) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(job.created_at)
        # The same for each try, so that a mailbox can tell a repeated mail.
        domain = self._sender.rpartition("@")[2].rstrip(">")
        message["Message-ID"] = f"<{job.id}.{job.created_at.timestamp():.6f}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)
        return message


def address(text: str) -> Address:
    """One mail address as a header, its domain as DNS takes it: few mail servers know another form.

    Raises JobError for anything else, several addresses or header lines included.
    """
    name, at, domain = text.rpartition("@")
    if not domain.isascii():
        with suppress(EmailNotValidError):
            domain = validate_email(f"name@{domain}", check_deliverability=False).ascii_domain
    unfit = not (name and at and domain) or not text.isprintable() or any(mark in text for mark in " ,;<>")
    try:
        if not unfit:
            return Address(username=name, domain=domain)
    except (ValueError, IndexError):
        pass
    raise JobError("The mail address can't be written to.", final=True)
