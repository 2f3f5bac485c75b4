"""The commands of `slipway-operator` that need no cluster."""

from __future__ import annotations

import tomllib
from pathlib import Path

from click.testing import CliRunner

from slipway_operator.main import main

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_version_is_the_projects() -> None:
    ended = CliRunner().invoke(main, ["version"])
    assert (ended.exit_code, ended.output) == (0, tomllib.loads(PROJECT.read_text())["project"]["version"] + "\n")


def test_a_wrong_setting_ends_it_with_what_to_write() -> None:
    ended = CliRunner().invoke(main, ["run"], env={"SLIPWAY_OPERATOR_LOG_LEVEL": "loud"})
    assert ended.exit_code == 1
    assert "SLIPWAY_OPERATOR_LOG_LEVEL" in ended.output
