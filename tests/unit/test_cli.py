"""`slipway` as a person types it: what is named, what is refused, and how errors are said."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import click
import pytest
from click.testing import CliRunner, Result

from slipway import cli
from slipway.cli import root, run_async
from slipway.http.problems import ProblemDetail, ValidationError
from slipway.settings import Settings
from unit.test_settings import SAFE

ADMIN = ["admin", "create", "--email", "ada@example.com"]
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)


def slipway(*words: str, typed: str = "", **environment: str) -> Result:
    return CliRunner(env=environment).invoke(root, list(words), input=typed)


def test_help_names_every_command_also_those_that_are_loaded_when_they_are_used() -> None:
    shown = slipway("-h")
    assert shown.exit_code == 0
    commands = [line.split()[0] for line in shown.output.partition("Commands:\n")[2].splitlines()]
    assert commands == ["admin", "audit", "db", "jobs", "keys", "logs", "openapi", "run", "serve", "settings", "worker"]
    for group in ("admin", "audit", "db", "jobs", "keys"):
        assert slipway(group, "-h").exit_code == 0
    assert slipway("nothing").exit_code == 2
    assert slipway("--version").output.startswith("slipway, version ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "use `slipway serve` in production"),
        (["serve", "--reload"], "`--reload` is for development"),
    ],
)
def test_what_is_for_development_is_refused_in_production(words: list[str], said: str) -> None:
    refused = slipway(*words, **SAFE)
    assert refused.exit_code == 1
    assert said in refused.output


@pytest.mark.parametrize("words", [["serve"], ["worker"], ["run"], ["openapi"], [*ADMIN, "--password-file", "-"]])
def test_every_fault_of_the_settings_is_told_at_once(words: list[str]) -> None:
    refused = slipway(*words, typed=PASSWORD, SLIPWAY_PORT="loud", SLIPWAY_DRAIN="-1")
    assert refused.exit_code == 1
    assert "SLIPWAY_PORT" in refused.output
    assert "SLIPWAY_DRAIN" in refused.output
    assert "Traceback" not in refused.output


def test_settings_are_shown_as_a_table_or_as_an_env_file() -> None:
    assert slipway("settings").output.startswith("| Setting |")
    assert slipway("settings", "--env").output.startswith("# Settings for development")


def test_the_document_goes_to_standard_output_or_to_a_file(tmp_path: Path) -> None:
    shown = slipway("openapi")
    assert json.loads(shown.stdout)["info"]["title"] == "Slipway"
    assert shown.stdout.endswith("\n}\n")
    file = tmp_path / "openapi.json"
    assert slipway("openapi", "--output", str(file)).stdout == ""
    assert file.read_text(encoding="utf-8") == shown.stdout


class Started:
    """Stands for `serve`, `work` and others that would go on: what they were called with."""

    def __init__(self) -> None:
        self.called: list[tuple[Any, ...]] = []

    async def __call__(self, *given: Any) -> None:
        self.called.append(given)


@pytest.mark.parametrize(("command", "name"), [("serve", "serve"), ("worker", "work")])
def test_a_process_gets_its_settings_and_logs_as_they_say(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started()
    logs: list[Settings] = []

    def configure(settings: Settings) -> str:
        logs.append(settings)
        return "lines"

    monkeypatch.setattr(f"slipway.server.{name}", started)
    monkeypatch.setattr("slipway.telemetry.logs.configure_logging", configure)
    assert slipway(command, SLIPWAY_PORT="8222").exit_code == 0
    [(settings, *lines)] = started.called
    assert settings.port == 8222
    assert lines == (["lines"] if command == "serve" else [])
    assert logs == [settings]


def test_reloading_serves_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started()
    monkeypatch.setattr("slipway.server.serve", started)
    monkeypatch.setattr("slipway.telemetry.logs.configure_logging", lambda _: "lines")
    monkeypatch.setattr("slipway.local.reload.serve_with_reload", lambda target: target([]))
    assert slipway("serve", "--reload", SLIPWAY_PORT="8222").exit_code == 0
    assert [(settings.port, lines) for settings, lines in started.called] == [(8222, "lines")]


@pytest.mark.parametrize(
    ("words", "typed"),
    [([], f"{PASSWORD}\n{PASSWORD}\n"), (["--password-file", "-"], f"{PASSWORD}\n")],
)
def test_a_password_is_typed_twice_unseen_or_read(
    words: list[str], typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = Started()
    monkeypatch.setattr("slipway.administrators_cli.create", created)
    done = slipway(*ADMIN, *words, typed=typed)
    assert (done.exit_code, [given[1:] for given in created.called]) == (0, [("ada@example.com", PASSWORD)])
    assert PASSWORD not in done.output


def test_a_password_that_is_typed_differently_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    created = Started()
    monkeypatch.setattr("slipway.administrators_cli.create", created)
    done = slipway(*ADMIN, typed=f"{PASSWORD}\nanother one\n{PASSWORD}\n{PASSWORD}\n")
    assert "do not match" in done.output
    assert len(created.called) == 1


@pytest.mark.parametrize("words", [["openapi"], ["admin", "create", "--email=a", "--password-file=-"]])
def test_an_env_file_that_production_does_not_read_is_told(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Settings] = []
    monkeypatch.setattr(cli, "tell_of_unread_env_file", told.append)
    monkeypatch.setattr("slipway.administrators_cli.create", Started())
    slipway(*words, typed=PASSWORD)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValidationError("No.", details=[ProblemDetail(location="body", message="Choose another.")]),
            "Error: No. Choose another.",
        ),
        (asyncpg.InvalidPasswordError("rows: hush"), "Error: The database: "),
        (TimeoutError(), "Error: The database: no answer within the time limit."),
        (ValueError("This is a sentence."), "Error: This is a sentence."),
        (ConnectionRefusedError(111, "refused"), "Error: "),
    ],
)
def test_an_error_that_people_can_mend_is_one_sentence(error: Exception, said: str) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(click.ClickException) as told:
        run_async(fail())
    shown = io.StringIO()
    told.value.show(shown)
    assert shown.getvalue().startswith(said)
    assert shown.getvalue().count("\n") == 1
    assert "hush" not in shown.getvalue()


def test_another_error_keeps_its_traceback() -> None:
    async def fail() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_async(fail())


def test_without_uvloop_the_standard_loop_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    ran: list[bool] = []

    async def note() -> None:
        ran.append(True)

    main: Coroutine[Any, Any, None] = note()
    run_async(main)
    assert ran == [True]
