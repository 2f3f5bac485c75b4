"""The files of the script for plain Alembic find each other where a ConfigMap is mounted."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import table
from servers.plain_alembic_images import Run, binding, lines_of, mount, plain_image
from slipway_operator.migrations.script import script_files


def _plan(script: Path, config: Path, login: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a Job does it: no option of Python, another working directory, and nothing of ours on the path."""
    return subprocess.run(
        [sys.executable, str(script), f"--config={config}", "plan", "--marked"],
        env={"PATH": os.environ["PATH"], "SLIPWAY_DATABASE_CREDENTIALS_DIR": str(login), **environment},
        cwd="/", check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"PYTHONSAFEPATH": "1"}], ids=["as it is", "with PYTHONSAFEPATH"])
async def test_what_the_config_map_holds_runs_from_its_mount(
    empty_database: TestDatabase, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "mount").mkdir()
    script = mount(tmp_path / "mount", script_files())
    config, login = plain_image(tmp_path / "image", table("a")), binding(tmp_path / "login", empty_database)
    done = _plan(script, config, login, **environment)
    assert done.returncode == 0, done.stderr
    run = Run(0, lines_of(done.stdout), done.stdout, done.stderr)
    assert [one["id"] for one in run.plan["revisions"]] == ["a"]


def test_a_file_that_is_missing_from_the_mount_comes_from_nowhere_else(tmp_path: Path) -> None:
    script = mount(tmp_path, {name: text for name, text in script_files().items() if name != "plain_runner.py"})
    done = _plan(script, tmp_path / "alembic.ini", tmp_path)
    assert done.returncode == 1
    assert "The script's mount lacks module plain_runner" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(script_files()))
def test_the_script_is_in_the_grammar_of_python_3_9(name: str) -> None:
    ast.parse(script_files()[name], feature_version=(3, 9))


def test_newer_grammar_would_be_noticed() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case _: pass", feature_version=(3, 9))
