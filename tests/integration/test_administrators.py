"""The administrator of `slipway admin create`, and the first one of a database without users."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from integration.conftest import enter
from integration.sql import run_sql
from slipway.administrators import (
    AdministratorError,
    create_administrator,
    create_first_administrator,
    read_administrator,
)
from slipway.administrators_cli import create
from slipway.http.problems import ValidationError
from slipway.resources import Resources
from slipway.settings import Settings

PASSWORD = "a password for tests"


async def _addresses(resources: Resources) -> list[str]:
    return [row[0] for row in await run_sql(resources, "SELECT email FROM users ORDER BY email")]


async def test_an_administrator_may_sign_in_and_administer(
    app_settings: Settings, resources: Resources, anonymous: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(app_settings, "ada@example.com", PASSWORD)
    assert capsys.readouterr().out == "ada@example.com is an administrator now.\n"
    [(user_id, email)] = await run_sql(resources, "SELECT id::text, email FROM users")
    ada = await enter(anonymous, user_id, email)
    assert (await ada.client.get("/api/v1/users")).status_code == 200
    assert (await ada.client.post("/api/v1/items", json={"title": "hers"})).status_code == 201


async def test_an_address_that_is_taken_is_said_and_its_user_stays_as_it_was(
    app_settings: Settings, resources: Resources
) -> None:
    await create(app_settings, "ada@example.com", PASSWORD)
    before = await run_sql(resources, "SELECT * FROM users")
    with pytest.raises(ValueError, match=r"There is a user ADA@example\.com already\."):
        await create(app_settings, "ADA@example.com", "another password for tests")
    assert await run_sql(resources, "SELECT * FROM users") == before


@pytest.mark.parametrize("email", ["no address", f"{'x' * 60}@{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 60}.example"])
async def test_an_address_that_can_not_be_is_refused_before_anything_is_done(email: str) -> None:
    with pytest.raises(ValueError, match=r"^This is no usable e-mail address: [^\n]+\.$"):
        await create(Settings(), email, PASSWORD)


async def test_a_password_that_is_too_short_makes_nobody(app_settings: Settings, resources: Resources) -> None:
    with pytest.raises(ValidationError):
        await create(app_settings, "ada@example.com", "short")
    assert await _addresses(resources) == []


async def test_a_demo_password_is_refused_in_production_only(app_settings: Settings, resources: Resources) -> None:
    demo = "slipway-demo"
    with pytest.raises(ValueError, match="demo password"):
        await create(Settings(environment="production"), "ada@example.com", demo)
    await create(app_settings, "ada@example.com", demo)
    assert await _addresses(resources) == ["ada@example.com"]


async def test_the_first_administrator_is_made_once_however_many_begin_together(resources: Resources) -> None:
    made = await asyncio.gather(
        *(
            create_first_administrator(resources.database, resources.passwords, f"{number}@example.com", PASSWORD)
            for number in range(5)
        )
    )
    assert sorted(made) == [False] * 4 + [True]
    assert len(await _addresses(resources)) == 1
    assert not await create_first_administrator(resources.database, resources.passwords, "late@example.com", PASSWORD)
    assert await create_administrator(resources.database, resources.passwords, "late@example.com", PASSWORD)
    assert len(await _addresses(resources)) == 2


def _folder(folder: Path, **contents: bytes) -> Path:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_login_is_read_from_the_files_of_a_secret(tmp_path: Path) -> None:
    folder = _folder(tmp_path, username=b"ada@example.com\n", password=b"a word\n")
    assert read_administrator(folder) == ("ada@example.com", "a word")
    _folder(tmp_path, email=b"eva@example.com")
    assert read_administrator(folder) == ("eva@example.com", "a word")


@pytest.mark.parametrize(
    "contents",
    [{}, {"email": b"a@example.com"}, {"password": b"a word"}, {"email": b"a@example.com", "password": b" \n"},
     {"email": b"a@example.com", "password": b"\xff\xfe"}],
)  # fmt: skip
def test_a_folder_without_a_whole_login_is_told(tmp_path: Path, contents: dict[str, bytes]) -> None:
    with pytest.raises(AdministratorError, match="must hold the files `email` and `password`"):
        read_administrator(_folder(tmp_path, **contents))
