from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.jobs.kinds import Job, JobError
from slipway.mail import job as mail_job
from slipway.mail.job import MailJob, address
from slipway.mail.links import AddressTaken, MailedLink
from slipway.mail.mailer import NoMailer, SmtpMailer, TerminalMailer, mailer_for
from slipway.mail.templates import PASSWORD_RESET, Template, in_words
from slipway.settings import Settings

SETTINGS = Settings(mail_from="Slipway <no-reply@example.com>")


class Kept:
    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []

    async def send(self, message: EmailMessage, recipient: str) -> None:
        self.mails.append((recipient, message))


def mail(to: str, template: str = "welcome", values: dict[str, str] | None = None) -> Job:
    payload = {"to": to, "template": template, "values": values or {}}
    return Job(7, "send_mail", payload, {}, 1, uuid4(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


async def link(to: str) -> MailedLink | None:
    if to == "nobody@example.com":
        return None
    return MailedLink(to.lower(), f"https://app.example.com/reset?token=for-{to}")


async def change_link(user_id: UUID, to: str) -> MailedLink | AddressTaken | None:
    if to == "taken@example.com":
        return AddressTaken("owner@example.com")
    return (
        MailedLink(to, f"https://app.example.com/confirm?token=for-{user_id}") if to != "nobody@example.com" else None
    )


async def sent(job: Job, settings: Settings = SETTINGS) -> list[tuple[str, EmailMessage]]:
    kept = Kept()
    await MailJob(settings, kept, link, change_link).run(job)
    return kept.mails


async def test_a_welcome_greets_by_name() -> None:
    [(recipient, message)] = await sent(mail("ada@example.com", values={"name": "Ada"}))
    assert recipient == "ada@example.com"
    assert message["To"] == "ada@example.com"
    assert message["From"] == "Slipway <no-reply@example.com>"
    assert message.get_content().startswith("Hello Ada,\n")


async def test_a_welcome_without_a_name_greets_all_the_same() -> None:
    [(_, message)] = await sent(mail("ada@example.com", values={"name": ""}))
    assert message.get_content().startswith("Hello,\n")


async def test_a_reset_carries_a_link_made_for_that_address() -> None:
    [(_, message)] = await sent(mail("ada@example.com", "password_reset"))
    assert "https://app.example.com/reset?token=for-ada@example.com" in message.get_content()


async def test_a_link_goes_to_the_address_that_is_kept_not_to_the_one_that_was_typed() -> None:
    [(recipient, message)] = await sent(mail("ADA@example.com", "password_reset"))
    assert (recipient, message["To"]) == ("ada@example.com", "ada@example.com")


async def test_the_old_address_is_told_that_it_was_replaced_and_not_by_which() -> None:
    [(recipient, message)] = await sent(mail("old@example.com", "email_changed", {"name": "new@example.com"}))
    assert (recipient, message["Subject"]) == ("old@example.com", "Your address was changed")
    assert "new@example.com" not in message.get_content()


async def test_nobody_gets_no_reset() -> None:
    assert await sent(mail("nobody@example.com", "password_reset")) == []


@pytest.mark.parametrize(
    ("sender", "domain"),
    [("Slipway <no-reply@example.com>", "example.com"), ("slipway@localhost", "localhost")],
)
async def test_a_mail_says_when_it_was_asked_for_and_that_nobody_wrote_it(sender: str, domain: str) -> None:
    [(_, message)] = await sent(mail("ada@example.com"), Settings(mail_from=sender))
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] == "Welcome to Slipway"
    assert message["Message-ID"].endswith(f"@{domain}>")


async def test_each_try_of_a_mail_has_the_same_message_id() -> None:
    job = mail("ada@example.com")
    first, second = await sent(job), await sent(job)
    assert first[0][1]["Message-ID"] == second[0][1]["Message-ID"] == "<7.1767323045.000000@example.com>"


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\nSubject: new",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        "ada@example.com\u2028x",
        "ada example.com",
        "@example.com",
        "ada@",
        "",
    ],
)
async def test_what_is_more_or_less_than_one_address_gets_no_mail_and_no_second_try(to: str) -> None:
    with pytest.raises(JobError) as failure:
        await sent(mail(to))
    assert failure.value.final
    assert "ada" not in str(failure.value)


@given(st.text(max_size=60))
def test_an_address_never_becomes_a_second_header_or_recipient(text: str) -> None:
    message = EmailMessage()
    try:
        message["To"] = address(text)
    except JobError:
        return
    assert len(message["To"].addresses) == 1
    assert len(message.as_bytes().partition(b"\n\n")[0].replace(b"\n ", b" ").splitlines()) == 1


async def test_without_the_check_an_address_would_name_a_second_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_job, "address", lambda text: text)
    [(_, message)] = await sent(mail("ada@example.com, eve@example.com"))
    assert len(message["To"].addresses) == 2


async def test_a_name_can_not_add_lines_to_a_mail() -> None:
    [(_, message)] = await sent(mail("ada@example.com", values={"name": "Ada,\r\n\r\nCall 555-1234"}))
    assert message.get_content().splitlines()[0] == "Hello Ada, Call 555-1234,"


def test_values_are_not_read_as_templates() -> None:
    assert Template("s", "{a}\n").render({"a": "{b.__class__}", "b": 1}) == "{b.__class__}\n"


def test_a_reset_says_how_long_its_link_works() -> None:
    assert "within 30 minutes" in PASSWORD_RESET.render({"link": "https://x", "lasting": in_words(1800)})
    assert [in_words(seconds) for seconds in (60, 3600, 5400, 7200, 86400)] == [
        "1 minute",
        "60 minutes",
        "90 minutes",
        "2 hours",
        "24 hours",
    ]


USER = UUID(int=7)


async def test_a_new_address_is_sent_a_link_or_the_token_alone_where_no_page_is_known() -> None:
    job = mail("new@example.com", "email_change", {"user_id": str(USER)})
    with_page = SETTINGS.with_changes(email_change_url="https://www.example.com/?{token}")
    for settings, how in ((with_page, "Confirm it here, within 24 hours:"), (SETTINGS, "Confirm it with this code,")):
        [(recipient, message)] = await sent(job, settings)
        assert (recipient, message["Subject"]) == ("new@example.com", "Confirm your new address")
        assert how in message.get_content()
        assert f"token=for-{USER}" in message.get_content()


async def test_who_has_the_address_that_somebody_asked_for_is_told_without_a_link() -> None:
    [(recipient, message)] = await sent(mail("taken@example.com", "email_change", {"user_id": str(USER)}))
    assert (recipient, message["Subject"]) == ("owner@example.com", "Your address was asked for")
    assert "token" not in message.get_content()


async def test_no_mail_is_sent_for_a_change_that_is_not_wanted_any_more() -> None:
    assert await sent(mail("nobody@example.com", "email_change", {"user_id": str(USER)})) == []


async def test_the_present_address_is_told_that_another_was_asked_for() -> None:
    [(recipient, message)] = await sent(mail("old@example.com", "email_change_asked"))
    assert recipient == "old@example.com"
    assert "change your password at once" in message.get_content()


async def test_an_unknown_template_is_final() -> None:
    with pytest.raises(JobError) as failure:
        await sent(mail("ada@example.com", "newsletter"))
    assert failure.value.final


async def test_production_without_a_mail_server_never_shows_a_mail(capsys: pytest.CaptureFixture[str]) -> None:
    mailer = mailer_for(Settings.model_construct(environment="production", smtp_url=None))
    assert isinstance(mailer, NoMailer)
    with pytest.raises(JobError, match="SLIPWAY_SMTP_URL"):
        await MailJob(SETTINGS, mailer, link, change_link).run(mail("ada@example.com", "password_reset"))
    assert "token=" not in "".join(capsys.readouterr())


async def test_development_without_a_mail_server_shows_the_link_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mailer = mailer_for(Settings())
    assert isinstance(mailer, TerminalMailer)
    await MailJob(SETTINGS, mailer, link, change_link).run(mail("ada@example.com", "password_reset"))
    assert "https://app.example.com/reset?token=for-ada@example.com" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://me:hunter2@mail.example.com", "smtp://me:hunter2@", "hunter2.example.com"])
def test_a_mail_server_url_that_can_not_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must be smtp://host") as failure:
        SmtpMailer(SETTINGS, url)
    assert "hunter2" not in str(failure.value)
