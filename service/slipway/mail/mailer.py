"""Sending one mail. Whoever calls decides about trying again; see `JobError.final` for when that is of no use."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from email.message import EmailMessage
from typing import Protocol

import aiosmtplib

from slipway.jobs.kinds import JobError
from slipway.settings import Settings
from slipway.urls.mail_url import read_mail_url
from slipway.urls.server_url import UrlError

_SUBMISSION_PORT = 587
_PERMANENT = 500
STEPS = 3
"""A whole conversation may take this many times the longest wait for one answer."""

log = logging.getLogger("slipway.mail")


class Mailer(Protocol):
    """Delivers a mail to `recipient`, or raises JobError; a mail may arrive twice, when the answer was lost."""

    async def send(self, message: EmailMessage, recipient: str) -> None: ...


class SmtpMailer:
    """A connection a mail. Raises ValueError for a URL that can't be used."""

    def __init__(self, settings: Settings, url: str) -> None:
        try:
            read = read_mail_url(url)
        except UrlError as error:
            raise ValueError(f"SLIPWAY_SMTP_URL {error}.") from None
        self._host = read.host
        self._username = read.user or None
        self._password = read.password or None
        self._implicit_tls = read.scheme == "smtps"
        self._port = int(read.port or (465 if self._implicit_tls else 25))
        self._timeout = settings.smtp_timeout
        self._tls = ssl.create_default_context(cafile=settings.smtp_ca_file)

    async def send(self, message: EmailMessage, recipient: str) -> None:
        try:
            async with asyncio.timeout(self._timeout * STEPS), self._client() as client:
                await client.send_message(message, recipients=[recipient])
        except aiosmtplib.SMTPRecipientsRefused as error:
            code = max(refused.code for refused in error.recipients)
            raise JobError(f"The mail server refused the recipient ({code}).", final=code >= _PERMANENT) from None
        except aiosmtplib.SMTPDataError as error:
            raise JobError(
                f"The mail server refused the mail ({error.code}).", final=error.code >= _PERMANENT
            ) from None
        except aiosmtplib.SMTPResponseException as error:
            # Not final: a login or a sender that is refused is a setting, and can be mended while the mail waits.
            raise JobError(f"The mail server refused: {type(error).__name__} ({error.code}).") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise JobError(f"The mail server can't be used: {type(error).__name__}.") from None

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            timeout=self._timeout,
            use_tls=self._implicit_tls,
            start_tls=self._start_tls(),
            tls_context=self._tls,
        )

    def _start_tls(self) -> bool | None:
        """Demanded where mail is submitted, and before a password is sent; elsewhere (None) used when it is offered."""
        if self._implicit_tls:
            return False
        return True if self._port == _SUBMISSION_PORT or self._username else None


class TerminalMailer:
    """For development: mails go to standard error, where whoever runs the service reads them, links and all.

    Not through the log: that masks tokens, and must go on doing so.
    """

    async def send(self, message: EmailMessage, recipient: str) -> None:
        log.info("mail shown on standard error; set SLIPWAY_SMTP_URL to send it")
        shown = f"--- mail to {recipient}: {message['Subject']}\n{message.get_content()}---\n"
        sys.stderr.write(shown)
        sys.stderr.flush()


class NoMailer:
    """For production without a mail server: mails wait, and then lie among the dead letters, until there is one.

    To show them, as in development, would write links that open accounts into logs which many people read.
    """

    async def send(self, message: EmailMessage, recipient: str) -> None:  # noqa: ARG002 - it is what a mailer takes
        raise JobError("There is no mail server: set SLIPWAY_SMTP_URL, then run `slipway jobs retry --all`.")


def mailer_for(settings: Settings) -> Mailer:
    """The mailer that the settings ask for. Raises ValueError for an unusable URL, OSError for a missing CA bundle."""
    if settings.smtp_url is not None:
        return SmtpMailer(settings, settings.smtp_url.get_secret_value())
    return NoMailer() if settings.production else TerminalMailer()
