"""What `slipway run` decides unless it was told, and how it ends before it has begun."""

from __future__ import annotations

import os
import signal

import pytest

from slipway.local.standalone import ADMINISTRATOR, ended_by_signals, first_steps, run_settings, url_here
from slipway.settings import EMAIL_CHANGE_PAGE, PASSWORD_RESET_PAGE, Settings


def test_nobody_is_drained_for_and_links_and_documentation_are_those_of_this_port() -> None:
    run = run_settings(Settings(port=8222))
    assert (run.drain, run.shutdown_timeout, run.openapi) == (0.0, 0.5, True)
    assert run.issuer == "http://127.0.0.1:8222"
    assert run.password_reset_url == "http://127.0.0.1:8222" + PASSWORD_RESET_PAGE
    assert run.email_change_url == "http://127.0.0.1:8222" + EMAIL_CHANGE_PAGE


def test_what_it_was_told_stays() -> None:
    told = {
        "drain": 3.0,
        "shutdown_timeout": 4.0,
        "openapi": False,
        "issuer": "https://api.example.com",
        "password_reset_url": "https://a/{token}",
        "email_change_url": "https://b/{token}",
    }
    run = run_settings(Settings.model_validate(told))
    assert {name: getattr(run, name) for name in told} == told


@pytest.mark.parametrize(("debug", "documented"), [(True, True), (False, False)])
def test_who_says_whether_they_debug_says_so_of_the_documentation_too(*, debug: bool, documented: bool) -> None:
    assert run_settings(Settings(debug=debug)).openapi is documented


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("*", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - what a person wrote
        ("::", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("box.local", "http://box.local:80"),
    ],
)
def test_the_address_that_is_shown_is_one_to_go_to(host: str, here: str) -> None:
    assert url_here(host, 80) == here


def test_the_first_steps_name_the_login_once_and_use_it() -> None:
    lines = "\n".join(first_steps("http://here", "a-word"))
    assert f"e-mail    {ADMINISTRATOR}" in lines
    assert "password  a-word" in lines
    assert f"http://here/api/v1/auth/token -d username={ADMINISTRATOR} -d password=a-word" in lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_block_quietly_and_handlers_are_as_before(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    went_on = []
    with ended_by_signals():
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)
        went_on.append(number)
    assert went_on == []
    assert capsys.readouterr().err == "Ended before it was ready.\n"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
