"""A `.env` in the working directory: read in development, told of in production, never repeated."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from servers.slipway import SlipwayProcess
from slipway.cli import root
from slipway.domains import SETTINGS
from slipway.settings import sources as settings_sources
from slipway.settings.sources import SettingsError, load_settings
from slipway.settings.table import env_example
from unit.test_settings import SAFE

UNREAD = "The .env in the working directory isn't read in production: set variables, or mount files."


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_sources, "ENV_FILE", Path(".env"))


def _written(text: str | bytes) -> None:
    Path(".env").write_bytes(text if isinstance(text, bytes) else text.encode())


def _refused() -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings(SETTINGS)
    assert "hidden" not in str(refused.value)
    return refused.value.faults


def test_it_gives_what_the_environment_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    _written("SLIPWAY_PORT=8222\nslipway_ops_port=9222\nSLIPWAY_CORS_ORIGINS=https://a.example, https://b.example\n")
    monkeypatch.setenv("SLIPWAY_OPS_PORT", "9333")
    settings = load_settings(SETTINGS)
    assert (settings.port, settings.ops_port) == (8222, 9333)
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
    assert "port" in settings.model_fields_set, "`slipway run` keeps what it was told"


def test_an_empty_variable_goes_before_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _written("SLIPWAY_DATABASE_GRANT_TO=somebody\n")
    monkeypatch.setenv("SLIPWAY_DATABASE_GRANT_TO", "")
    assert load_settings(SETTINGS).database_grant_to == ""


@pytest.mark.parametrize(
    ("text", "audience"),
    [
        ("export SLIPWAY_AUDIENCE=ships", "ships"),
        ("\ufeffSLIPWAY_AUDIENCE=ships\r\nSLIPWAY_PORT=1\r\n", "ships"),
        ("# a comment\n\nSLIPWAY_AUDIENCE=ships # of the fleet\n", "ships"),
        ("SLIPWAY_AUDIENCE='ships and # boats'", "ships and # boats"),
        ('SLIPWAY_AUDIENCE="ships\\tand\nboats"', "ships\tand\nboats"),
        ("SLIPWAY_AUDIENCE = ships", "ships"),
        ("SLIPWAY_AUDIENCE=${HOME}$$a", "${HOME}$$a"),
        ("SLIPWAY_AUDIENCE=one\nSLIPWAY_AUDIENCE=two", "two"),
        ("OTHER_PROGRAM=1\nSLIPWAY_OPERATOR_LOG_LEVEL=DEBUG\nSLIPWAY_AUDIENCE=ships", "ships"),
    ],
)
def test_it_is_read_as_such_files_are_written(text: str, audience: str) -> None:
    _written(text)
    assert load_settings(SETTINGS).audience == audience


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"\n\nSLIPWAY_PROT=hidden\n", "SLIPWAY_PROT on line 3 of .env is no setting"),
        (b"SLIPWAY_AUDIENCE=a\n\nsome hidden words\n", "Line 3 of .env is no NAME=value"),
        (b'SLIPWAY_SMTP_URL="smtp://hidden\n', "Line 1 of .env is no NAME=value"),
        (b"SLIPWAY_PORT\n", "Line 1 of .env is no NAME=value"),
        (b"SLIPWAY_AUDIENCE=hidden\xff\n", ".env can't be read as text"),
        (b"SLIPWAY_PORT=hidden\n", "SLIPWAY_PORT: Input should be a valid integer"),
    ],
)
def test_what_can_not_be_understood_is_told_by_line_and_never_by_value(text: bytes, sentence: str) -> None:
    _written(text)
    (fault,) = _refused()
    assert fault.startswith(sentence)


def test_all_faults_are_told_at_once() -> None:
    _written("SLIPWAY_PROT=1\nhidden words\nSLIPWAY_PORT=hidden\n")
    assert len(_refused()) == 3


def test_a_folder_of_that_name_is_no_such_file() -> None:
    Path(".env").mkdir()
    assert load_settings(SETTINGS) == SETTINGS()


def test_it_may_name_the_folder_of_secrets_and_goes_before_what_is_in_there() -> None:
    Path("kept").mkdir()
    Path("kept/slipway_redis_url").write_text("redis://:hidden@redis\n")
    Path("kept/slipway_audience").write_text("of the folder\n")
    _written("SLIPWAY_SECRETS_DIR=kept\nSLIPWAY_AUDIENCE=of the file\n")
    settings = load_settings(SETTINGS)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:hidden@redis"
    assert settings.audience == "of the file"


def _production(monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str] = SAFE) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def test_production_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _written("SLIPWAY_AUDIENCE=ships\nSLIPWAY_ENVIRONMENT=development\nhidden words\n")
    _production(monkeypatch)
    settings = load_settings(SETTINGS)
    assert (settings.production, settings.audience) == (True, "slipway")


def test_it_can_not_make_production(monkeypatch: pytest.MonkeyPatch) -> None:
    _written("SLIPWAY_ENVIRONMENT=production\n")
    _production(monkeypatch, {name: value for name, value in SAFE.items() if name != "SLIPWAY_ENVIRONMENT"})
    (fault,) = _refused()
    assert "set SLIPWAY_ENVIRONMENT=production in the environment itself" in fault


def test_production_by_a_secret_file_is_no_way_around_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slipway_environment").write_text("production")
    _written("SLIPWAY_AUDIENCE=ships\n")
    others = {name: value for name, value in SAFE.items() if name != "SLIPWAY_ENVIRONMENT"}
    _production(monkeypatch, {**others, "SLIPWAY_SECRETS_DIR": str(tmp_path)})
    assert "Production doesn't read a .env" in _refused()[0]
    Path(".env").unlink()
    assert load_settings(SETTINGS).production


COMMANDS = [
    "serve", "worker", "run", "openapi", "db wait", "db upgrade", "db plan", "jobs list", "jobs retry --all",
    "admin create --email=a@example.com --password-file=-",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_it(command: str) -> None:
    _written("SLIPWAY_PORT=hidden\n")
    done = CliRunner().invoke(root, command.split())
    assert done.exit_code == 1
    assert "SLIPWAY_PORT: Input should be a valid integer" in done.output
    assert "hidden" not in done.output


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ("serve", "worker", "run")])
def test_every_command_says_in_production_that_one_lies_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    _written("SLIPWAY_PORT=hidden\n")
    _production(monkeypatch, SAFE | {"SLIPWAY_DATABASE_URL": "postgresql://api:kq93-long@127.0.0.1:1/slipway"})
    CliRunner().invoke(root, [*command.split(), *(["--timeout=0"] if command == "db wait" else [])])
    assert [record.getMessage() for record in caplog.records].count(UNREAD) == 1


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_server_says_so_in_its_log(tmp_path: Path, command: str) -> None:
    _written("SLIPWAY_PORT=hidden\n")
    server = SlipwayProcess(command, tmp_path, SAFE | {"SLIPWAY_DATABASE_URL": "postgresql://api:kq93@127.0.0.1:1/x"})
    server.spawn()
    assert server.wait() == 1
    lines = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
    assert [(line["level"], line["logger"]) for line in lines if line["message"] == UNREAD] == [
        ("WARNING", "slipway.settings")
    ]


def test_the_example_is_made_from_the_settings() -> None:
    checkout = Path(__file__).parents[2]
    assert (checkout / ".env.example").read_text(encoding="utf-8") == env_example(SETTINGS), "make env"
    for name in (".gitignore", ".dockerignore"):
        assert ".env" in (checkout / name).read_text(encoding="utf-8")


def test_the_example_changes_nothing_and_with_its_marks_taken_away_neither() -> None:
    example = env_example(SETTINGS)
    _written(example)
    assert load_settings(SETTINGS) == SETTINGS()
    assert all(line.startswith("#") for line in example.splitlines() if line)
    settings = [line.removeprefix("#") for line in example.splitlines() if line.startswith("#SLIPWAY_")]
    assert len(settings) == len(SETTINGS.model_fields)
    _written("\n".join(line for line in settings if not line.endswith("=")))
    assert load_settings(SETTINGS) == SETTINGS()
