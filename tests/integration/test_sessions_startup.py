"""Start-up looks until everything is there: a fault is shown and logged, and ends nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from integration.sql import run_sql
from servers.waiting import until
from slipway import readiness
from slipway.auth.passwords import PasswordHasher
from slipway.edge.drain import DrainState
from slipway.migrations.errors import MigrationError
from slipway.readiness import Startup
from slipway.resources import Resources
from slipway.storage.engine import Database

GOOD = "a password for the administrator"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LONGEST_WAIT", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "admin"
    made.mkdir()
    (made / "email").write_text("root@example.com")
    (made / "password").write_text(GOOD)
    return made


def startup(resources: Resources, folder: Path) -> Startup:
    settings = resources.settings.with_changes(admin_credentials_dir=folder)
    return Startup(replace(resources, settings=settings), DrainState())


def reason(looked: Startup) -> str:
    return next(check.message for check in looked.checks() if check.name == "schema")


async def test_a_short_administrator_password_is_named_and_a_mended_one_is_taken(
    resources: Resources, folder: Path
) -> None:
    (folder / "password").write_text("short")
    looked = startup(resources, folder)
    async with looked.looking():
        await until(lambda: "Choose a password of 12 to 128 characters." in reason(looked))
        assert not looked.done.is_set()
        (folder / "password").write_text(GOOD)
        await asyncio.wait_for(looked.done.wait(), 5)
    assert await run_sql(resources, "SELECT email FROM users") == [("root@example.com",)]


@pytest.mark.parametrize(
    ("fault", "shown", "traced"),
    [
        (MigrationError("The revisions can't be read."), "The revisions can't be read.", False),
        (RuntimeError("secret"), "unforeseen, see the log: RuntimeError", True),
        (TimeoutError(), "the database can't be used: no answer within the time limit", False),
    ],
)
async def test_any_fault_is_shown_and_looked_at_again(
    resources: Resources,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    shown: str,
    traced: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def fail(_: Database) -> None:
        raise fault

    looked = startup(resources, folder)
    with monkeypatch.context() as patched, caplog.at_level(logging.INFO, "slipway.readiness"):
        patched.setattr(readiness, "look_at_gate", fail)
        async with looked.looking():
            await until(lambda: reason(looked) == shown)
    assert [bool(record.exc_info) for record in caplog.records] == [traced]
    async with looked.looking():
        await asyncio.wait_for(looked.done.wait(), 5)


async def test_a_full_queue_of_hashes_is_waited_for(
    resources: Resources, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources.passwords, "_limit", 0)
    looked = startup(resources, folder)
    async with looked.looking():
        await until(lambda: "Too many sign-ins" in reason(looked))
        monkeypatch.setattr(resources.passwords, "_limit", PasswordHasher(resources.settings)._limit)  # noqa: SLF001 - as it was
        await asyncio.wait_for(looked.done.wait(), 5)


async def test_a_refused_login_is_told_as_the_schema_commands_tell_it(
    resources: Resources, folder: Path, database: object
) -> None:
    del database
    wrong = replace(resources.database._login, password=SecretStr("wrong"))  # noqa: SLF001 - a login that was mistyped
    refused = Database(resources.settings, wrong)
    looked = Startup(replace(resources, database=refused), DrainState())
    del folder
    async with looked.looking():
        await until(lambda: "password authentication failed" in reason(looked))
    assert "28P01" in reason(looked)
    await refused.close()


async def test_looking_ends_with_its_block(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Database) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(readiness, "look_at_gate", never)
    before = asyncio.all_tasks()
    looked = Startup(resources, DrainState())
    async with looked.looking():
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert not looked.done.is_set()
    assert reason(looked) == "the database has not been looked at yet"
