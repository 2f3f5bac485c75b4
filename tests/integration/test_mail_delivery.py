from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trustme

from servers.jobs import done, enqueue, rows, working
from servers.mail import mail_server
from servers.waiting import free_port, until
from slipway.jobs.kinds import Job, JobError, Kind
from slipway.mail.job import MailJob
from slipway.mail.links import MailedLink
from slipway.mail.mailer import SmtpMailer
from slipway.settings import Settings
from slipway.storage.engine import Database

ADA = {"to": "ada@example.com", "template": "welcome", "values": {"name": "Ada"}}


async def link(to: str) -> MailedLink:
    return MailedLink(to, "https://app.example.com/reset?token=secret-token")


async def no_change(_: UUID, __: str) -> None:
    return None


def mail_job(settings: Settings, url: str) -> MailJob:
    return MailJob(settings, SmtpMailer(settings, url), link, no_change)


def a_mail() -> Job:
    return Job(1, "send_mail", ADA, {}, 1, uuid4(), datetime.now(UTC))


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@pytest.fixture
def tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def trusting(tmp_path: Path, ca: trustme.CA) -> Settings:
    del ca
    return Settings(smtp_ca_file=tmp_path / "ca.pem", smtp_timeout=5)


async def test_a_mail_arrives_as_plain_text() -> None:
    async with mail_server() as (port, mailbox):
        await mail_job(Settings(), f"smtp://127.0.0.1:{port}").run(a_mail())
    [envelope] = mailbox.mails
    message = message_from_bytes(envelope.content or b"")
    assert envelope.rcpt_tos == ["ada@example.com"]
    assert (message["Subject"], message.get_content_type()) == ("Welcome to Slipway", "text/plain")
    assert "Hello Ada," in str(message.get_payload())


async def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext, trusting: Settings) -> None:
    async with mail_server(tls=tls) as (port, mailbox):
        await mail_job(trusting, f"smtp://127.0.0.1:{port}").run(a_mail())
    assert mailbox.encrypted == [True]


async def test_smtps_speaks_tls_from_the_start(tls: ssl.SSLContext, trusting: Settings) -> None:
    async with mail_server(tls=tls, implicit=True) as (port, mailbox):
        await mail_job(trusting, f"smtps://127.0.0.1:{port}").run(a_mail())
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_server_that_nobody_vouches_for_gets_no_mail(tls: ssl.SSLContext, scheme: str) -> None:
    async with mail_server(tls=tls, implicit=scheme == "smtps") as (port, mailbox):
        with pytest.raises(JobError, match=r"^The mail server can't be used"):
            await mail_job(Settings(), f"{scheme}://127.0.0.1:{port}").run(a_mail())
    assert mailbox.mails == []


async def test_a_login_is_sent_over_tls(tls: ssl.SSLContext, trusting: Settings) -> None:
    async with mail_server(tls=tls, login=True) as (port, mailbox):
        await mail_job(trusting, f"smtp://me:p%40ss@127.0.0.1:{port}").run(a_mail())
    assert (mailbox.logins, len(mailbox.mails)) == ([b"me"], 1)


async def test_a_password_is_never_sent_without_tls() -> None:
    async with mail_server(login=True) as (port, mailbox):
        with pytest.raises(JobError) as failure:
            await mail_job(Settings(), f"smtp://me:p%40ss@127.0.0.1:{port}").run(a_mail())
    assert not failure.value.final
    assert (mailbox.logins, mailbox.mails) == ([], [])


async def test_a_wrong_password_is_told_without_showing_it(tls: ssl.SSLContext, trusting: Settings) -> None:
    async with mail_server(tls=tls, login=True) as (port, _):
        with pytest.raises(JobError, match="SMTPAuthenticationError") as failure:
            await mail_job(trusting, f"smtp://me:hunter2@127.0.0.1:{port}").run(a_mail())
    assert not failure.value.final
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(("answer", "final"), [("451 busy", False), ("550 no mailbox of ada here", True)])
async def test_a_recipient_refused_for_good_is_not_asked_again(answer: str, final: bool) -> None:  # noqa: FBT001 - a table
    async with mail_server() as (port, mailbox):
        mailbox.recipient_answers = [answer]
        with pytest.raises(JobError) as failure:
            await mail_job(Settings(), f"smtp://127.0.0.1:{port}").run(a_mail())
    assert failure.value.final is final
    assert "ada" not in str(failure.value)


@pytest.mark.parametrize(("answer", "final"), [("452 full", False), ("554 spam", True)])
async def test_a_mail_refused_for_good_is_not_sent_again(answer: str, final: bool) -> None:  # noqa: FBT001 - a table
    async with mail_server() as (port, mailbox):
        mailbox.data_answers = [answer]
        with pytest.raises(JobError) as failure:
            await mail_job(Settings(), f"smtp://127.0.0.1:{port}").run(a_mail())
    assert failure.value.final is final


class TestThroughTheQueue:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.with_changes(job_backoff=0.05, smtp_timeout=2)

    async def test_a_mail_that_is_put_off_is_sent_later_and_once(self, settings: Settings, db: Database) -> None:
        async with mail_server() as (port, mailbox):
            mailbox.recipient_answers = ["451 greylisted", "451 greylisted"]
            job = mail_job(settings, f"smtp://127.0.0.1:{port}")
            async with working(settings, db, {"send_mail": Kind(job.run)}):
                await enqueue(db, "send_mail", {**ADA})
                await done(db)
        assert (mailbox.tries, len(mailbox.mails)) == (3, 1)

    async def test_mails_wait_for_a_server_that_is_away(self, settings: Settings, db: Database) -> None:
        port = free_port()
        job = mail_job(settings, f"smtp://127.0.0.1:{port}")
        async with working(settings, db, {"send_mail": Kind(job.run)}):
            await enqueue(db, "send_mail", {**ADA})
            await until(lambda: _failed_once(db))
            async with mail_server(port=port) as (_, mailbox):
                await done(db)
        assert len(mailbox.mails) == 1

    async def test_nothing_of_a_mail_is_in_the_queue_s_errors(self, settings: Settings, db: Database) -> None:
        async with mail_server() as (port, mailbox):
            mailbox.recipient_answers = ["550 no mailbox of ada here"]
            job = mail_job(settings, f"smtp://127.0.0.1:{port}")
            async with working(settings, db, {"send_mail": Kind(job.run)}):
                await enqueue(db, "send_mail", {**ADA, "template": "password_reset"})
                await until(lambda: _dead(db))
        assert [row.last_error for row in await rows(db)] == ["JobError: The mail server refused the recipient (550)."]


async def _failed_once(db: Database) -> bool:
    return any(row.last_error is not None for row in await rows(db))


async def _dead(db: Database) -> bool:
    return any(row.dead_at is not None for row in await rows(db))
