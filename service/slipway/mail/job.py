"""The job that writes a mail and hands it to the mailer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, NamedTuple

from slipway.jobs.kinds import Job, JobError
from slipway.mail.links import MailedLink
from slipway.mail.mailer import Mailer
from slipway.mail.templates import EMAIL_CHANGED, PASSWORD_RESET, WELCOME, Template
from slipway.settings import Settings

JOB = "send_mail"

ResetLink = Callable[[str], Awaitable[MailedLink | None]]
"""Makes a link that sets a new password for the user of an address; None when there is no such user."""


class _Letter(NamedTuple):
    to: str
    subject: str
    body: str


def _letter(to: str, template: Template, **values: object) -> _Letter:
    return _Letter(to, template.subject, template.render(values))


class MailJob:
    """Payload: `to`, `template` (`welcome`, `email_changed`, `password_reset`), `values` (what the template shows)."""

    def __init__(self, settings: Settings, mailer: Mailer, reset_link: ResetLink) -> None:
        self._sender = settings.mail_from
        self._reset_minutes = settings.password_reset_ttl // 60
        self._mailer = mailer
        self._reset_link = reset_link

    async def run(self, job: Job) -> None:
        """Raises JobError; final where the payload is at fault."""
        to = str(job.payload["to"])
        letter = await self._write(str(job.payload["template"]), to, job.payload.get("values") or {})
        if letter is not None:
            await self._mailer.send(self._message(job, letter), letter.to)

    async def _write(self, name: str, to: str, values: dict[str, Any]) -> _Letter | None:
        if name == "welcome":
            return _letter(to, WELCOME, greeting=f"Hello {values.get('name') or ''}")
        if name == "email_changed":
            return _letter(to, EMAIL_CHANGED)
        if name == "password_reset":
            made = await self._reset_link(to)
            return made and _letter(made.to, PASSWORD_RESET, link=made.link, minutes=self._reset_minutes)
        raise JobError("There is no mail template of that name.", final=True)

    def _message(self, job: Job, letter: _Letter) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = address(letter.to)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(job.created_at)
        # The same for each try, so that a mailbox can tell a repeated mail.
        domain = self._sender.rpartition("@")[2].rstrip(">") or "localhost"
        message["Message-ID"] = f"<{job.id}.{job.created_at.timestamp():.6f}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)
        return message


def address(text: str) -> Address:
    """One mail address as a header. Raises JobError for anything else, several addresses or header lines included."""
    name, at, domain = text.rpartition("@")
    unfit = not (name and at and domain) or not text.isprintable() or any(mark in text for mark in " ,;<>")
    try:
        if not unfit:
            return Address(username=name, domain=domain)
    except (ValueError, IndexError):
        pass
    raise JobError("The mail address can't be written to.", final=True)
