"""A real mail server beside the API, and what arrived there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy

import httpx

from integration.conftest import PASSWORD, Person
from servers.jobs import done, working
from servers.mail import Mailbox, mail_server
from slipway.jobs.worker import Pace
from slipway.resources import Resources
from slipway.worker import job_kinds

PAGE = "https://www.example.com/confirm?token={token}"


@dataclass(frozen=True, slots=True)
class Mail:
    to: str
    subject: str
    text: str

    @property
    def token(self) -> str:
        found = re.search(r"token=([\w-]+)", self.text)
        assert found is not None, self.text
        return found[1]


@dataclass(slots=True)
class Post:
    """Does the jobs that are queued; `sent` are the mails that this brings, in order of their recipients."""

    resources: Resources
    mailbox: Mailbox
    port: int
    seen: int = 0

    async def sent(self) -> list[Mail]:
        settings = self.resources.settings.with_changes(
            smtp_url=f"smtp://127.0.0.1:{self.port}", email_change_url=PAGE, job_backoff=0.05
        )
        kinds = {name: kind for name, kind in job_kinds(settings, self.resources.database).items() if not kind.every}
        # With a lease that outlasts a slow machine: a mail whose worker seems dead is sent twice.
        async with working(settings, self.resources.database, kinds, Pace(lease=30, look=0.2)):
            await done(self.resources.database)
        new = self.mailbox.mails[self.seen :]
        self.seen = len(self.mailbox.mails)
        mails = []
        for envelope in new:
            message = message_from_bytes(envelope.content or b"", policy=policy.default)
            mails.append(Mail(envelope.rcpt_tos[0], str(message["Subject"]), message.get_content()))  # type: ignore[attr-defined]
        return sorted(mails, key=lambda mail: (mail.to, mail.subject))


@asynccontextmanager
async def post_office(resources: Resources) -> AsyncIterator[Post]:
    async with mail_server() as (port, mailbox):
        yield Post(resources, mailbox, port)


async def ask(person: Person, email: str, **more: object) -> httpx.Response:
    """For another address of one's own."""
    body = {"email": email, "current_password": PASSWORD, **more}
    return await person.client.patch(f"/api/v1/users/{person.id}", json=body)


async def confirm(anonymous: httpx.AsyncClient, token: str) -> httpx.Response:
    return await anonymous.post("/api/v1/auth/email-change/confirm", json={"token": token})
