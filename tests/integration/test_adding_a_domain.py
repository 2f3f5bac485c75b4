"""docs/adding-a-domain.md, followed to the letter on a copy of the service: what comes of it is like other domains."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.databases import APP, TestDatabase, create_database, drop_database
from servers.migration_images import owner_settings, session, value
from servers.postgres import PostgresServer
from sizes import lines
from slipway.migrations.runner import upgrade

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-domain.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
MOST = 160
"""Lines that a domain takes, without blank ones and comments."""

UNUSED = "-p no:schemathesis -p no:hypothesispytest -p no:xdist"
"""Plugins that no test of domains needs: to load them takes as long as all else does."""

_BLOCK = re.compile(r"^(?P<said>[^\n]+)\n\n```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:In )?`(service/\S+)`")
_PLACE = re.compile(r"(below|instead of) `(.+?)`:$")


@dataclass(frozen=True)
class Block:
    """One of the page's: a whole file, lines for a place in a file, or commands."""

    kind: str
    text: str
    path: str
    how: str = ""
    place: str = ""

    def apply(self, copy: Path) -> None:
        [path] = [copy / self.path] if "*" not in self.path else copy.glob(self.path)
        if not self.place:
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(self.text)
            return
        text = path.read_text()
        [line] = [line for line in text.splitlines(keepends=True) if line.startswith(self.place)]
        path.write_text(text.replace(line, line + self.text if self.how == "below" else self.text))


def blocks() -> Iterator[Block]:
    path = ""
    for found in _BLOCK.finditer(PAGE):
        named, place = _FILE.search(found["said"]), _PLACE.search(found["said"])
        path = named[1] if named else path
        how, where = place.groups() if place else ("", "")
        yield Block(found["kind"], found["text"], path, how, where)


CODE = [block for block in blocks() if block.kind == "python"]
FIRST = [block for block in CODE if "migrations/" not in block.path]
"""What is written before there is a revision."""
COMMANDS = [block.text for block in blocks() if block.kind == "sh"]


@dataclass(frozen=True)
class Copy:
    """The service somewhere else, and a database of its own at the schema of this release."""

    root: Path
    database: TestDatabase

    def run(self, *command: str) -> str:
        # The page's own run measures coverage, and would write into the file of one that measures this test.
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST_"))}
        environment = {
            **ours,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "service"),
            "SLIPWAY_DATABASE_URL": self.database.url_owner,
            "SLIPWAY_DATABASE_GRANT_TO": APP,
            "PYTEST_ADDOPTS": UNUSED,
        }
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    async def permissions(self) -> set[str]:
        return set(await value(self.database.url_owner, "SELECT permissions FROM users"))


def copied(folder: Path) -> Path:
    """All that checks and tests of the service look at; what is compiled and what mypy knows go by content."""
    for name in ("service", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "operator").symlink_to(ROOT / "operator")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "tests" / "added" / "test_projects.py", folder / "tests" / "integration" / "domains")
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    return folder


@pytest.fixture
async def copy(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Copy]:
    database = await create_database(postgres)
    await upgrade(owner_settings(database, database_grant_to=APP))
    async with session(database.url_owner) as connection:
        await connection.execute(
            "INSERT INTO users (id, email, password_hash, permissions)"
            " VALUES (gen_random_uuid(), 'ada@example.com', '-', '{items:read}')"
        )
    yield Copy(copied(tmp_path), database)
    await drop_database(database)


def test_the_page_has_as_much_to_write_as_it_says_and_names_nothing_private() -> None:
    assert 100 < sum(lines(block.text) for block in CODE) <= MOST
    [elsewhere] = [block for block in FIRST if block.place]
    assert (elsewhere.path, lines(elsewhere.text)) == ("service/slipway/domains.py", 1)
    for block in FIRST:
        for each in ast.walk(ast.parse(block.text)):
            names = [alias.name for alias in each.names] if isinstance(each, ast.Import | ast.ImportFrom) else []
            module = (each.module or "") if isinstance(each, ast.ImportFrom) else ""
            assert not [name for name in (*names, *module.split(".")) if name.startswith("_") and name != "__future__"]


async def test_the_page_followed_to_the_letter_makes_a_domain_like_the_others(copy: Copy) -> None:
    writing, upgrading, testing = COMMANDS
    for block in FIRST:
        block.apply(copy.root)
    copy.run("sh", "-ec", writing)
    for block in CODE[len(FIRST) :]:
        block.apply(copy.root)
    assert await copy.permissions() == {"items:read"}
    copy.run("sh", "-ec", upgrading)
    assert await copy.permissions() == {"items:read", "projects:read", "projects:write"}
    revisions = "service/slipway/migrations/versions"
    copy.run("ruff", "format", "--no-cache", revisions)  # of `make format`; what is written by hand needs none
    copy.run("ruff", "check", "--no-cache", "--fix", revisions)
    copy.run("ruff", "check", "--no-cache", "service")
    copy.run("ruff", "format", "--check", "--no-cache", "service")
    copy.run("mypy", "service/slipway/projects", "service/slipway/domains.py", revisions)
    copy.run("lint-imports", "--no-cache", "--no-logo")
    [tests] = [line.removeprefix(".venv/bin/") for line in testing.splitlines() if "pytest" in line]
    told = copy.run("sh", "-ec", tests)
    assert re.search(r"^TOTAL .* 100%$", told, re.MULTILINE), told
