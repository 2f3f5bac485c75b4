"""Bounds that people are told, tried on both sides."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from slipway.auth.keys import generate_keys
from slipway.cli import root
from slipway.jobs.kinds import Job
from slipway.mail.mailer import SmtpMailer
from slipway.settings import Settings
from slipway.settings.production import production_faults
from slipway.storage.login import Login, LoginError
from slipway.telemetry.logs import configure_logging
from slipway.urls.server_url import ServerUrl, is_port


@pytest.mark.parametrize(("seconds", "said"), [(899, True), (900, False), (1800, False), (1801, True)])
def test_access_tokens_live_from_15_to_30_minutes_in_production(seconds: int, *, said: bool) -> None:
    faults = production_faults(Settings(environment="production", access_token_ttl=seconds))
    assert any(fault.startswith("SLIPWAY_ACCESS_TOKEN_TTL ") for fault in faults) is said


@pytest.mark.parametrize(
    ("seconds", "taken"), [("0", None), ("1", 1.0), ("3600", 3600.0), ("3601", None), ("-1", None), ("", None)]
)
def test_a_connection_is_waited_for_from_a_second_to_an_hour(seconds: str, taken: float | None) -> None:
    url = f"postgresql://a:b@c/d?connect_timeout={seconds}"
    if taken is None:
        with pytest.raises(LoginError):
            Login.from_url(url)
    else:
        assert Login.from_url(url).connect_timeout == taken


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("0", False), ("1", True), ("65535", True), ("65536", False), ("9999999", False), ("", False), ("٣", False)],
)
def test_a_port_is_what_a_port_may_be(text: str, *, is_one: bool) -> None:
    assert is_port(text) is is_one


@pytest.mark.parametrize(
    ("url", "port", "implicit", "starttls"),
    [
        ("smtp://mail", 25, False, None),
        ("smtp://mail:587", 587, False, True),
        ("smtp://me:word@mail", 25, False, True),
        ("smtps://mail", 465, True, False),
        ("smtps://me:word@mail:2465", 2465, True, False),
    ],
)
def test_a_mail_server_is_reached_as_its_url_says(
    url: str, port: int, *, implicit: bool, starttls: bool | None
) -> None:
    client = SmtpMailer(Settings(smtp_timeout=7), url)._client()  # noqa: SLF001 - what goes to the library
    assert (client.hostname, client.port, client.use_tls, client._start_tls_on_connect) == (  # noqa: SLF001
        "mail", port, implicit, starttls,
    )  # fmt: skip
    assert client.timeout == 7


def test_the_help_of_schema_commands_tells_defaults_and_bounds_and_these_hold() -> None:
    def slipway(*words: str) -> Result:
        return CliRunner().invoke(root, ["db", *words], terminal_width=200)

    for command in ("upgrade", "plan"):
        shown = slipway(command, "--help").output
        for said in ("[default: all]", "[default: head]", "[default: 0; 0<=x<=3600]"):
            assert said in shown
        assert slipway(command, "--patience", "3601").exit_code == 2
        assert slipway(command, "--patience", "-1").exit_code == 2
        assert slipway(command, "--phase", "contract").exit_code == 2


def test_settings_are_not_changed_once_they_are_read_and_faults_repeat_no_value() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError) as refused:
        Settings(port="hush")  # type: ignore[arg-type]
    assert "hush" not in str(refused.value)


def test_no_value_shows_the_secrets_that_it_carries(tmp_path: Path) -> None:
    job = Job(1, "mail", {"link": "hush"}, {"traceparent": "hush"}, 1, uuid4(), datetime.now(UTC))
    assert "hush" not in repr(job)
    assert "hush" not in repr(ServerUrl.read("redis://me:hush@a?x=hush"))
    signing = generate_keys(tmp_path).signing
    assert repr(signing) == f"Key(id='{signing.id}', algorithm='EdDSA')"


def test_lines_of_the_server_are_ours_and_those_of_chatty_libraries_are_few() -> None:
    root_logger = logging.getLogger()
    handlers, level = root_logger.handlers[:], root_logger.level
    try:
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        configure_logging(Settings(log_level="debug"))
        assert logging.getLogger("uvicorn").propagate
        assert not logging.getLogger("uvicorn.access").propagate
        assert not any(logging.getLogger(name).handlers for name in ("uvicorn", "uvicorn.error", "uvicorn.access"))
        assert logging.getLogger("httpx").level == logging.WARNING
        assert logging.getLogger("opentelemetry.exporter").level == logging.CRITICAL
        configure_logging(Settings(log_level="error"))
        assert logging.getLogger("httpx").level == logging.ERROR
        assert root_logger.level == logging.ERROR
    finally:
        root_logger.handlers[:] = handlers
        root_logger.setLevel(level)
        logging.captureWarnings(capture=False)
