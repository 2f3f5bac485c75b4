"""One e-mail address at every door, however it is written; and rows of a release that told addresses apart by case."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import category, normalize
from uuid import uuid4

import httpx
import pytest

from integration.conftest import PASSWORD, Person
from integration.form import enter
from integration.sql import run_sql
from slipway.administrators import create_administrator, read_administrator
from slipway.auth.addresses import folded
from slipway.jobs.kinds import Job
from slipway.resources import Resources
from slipway.sessions.service import new_reset_link
from slipway.storage.models import new_id
from slipway.telemetry.logs import configure_logging
from slipway.users.keys import JOB, KeyAddresses

SIGMA = "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2@example.com"
CAPITALS = "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3@example.com"
MEDIAL = "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3@example.com"
"""What PostgreSQL makes of the capitals: it knows no final sigma."""

SPELLINGS = [
    ("info@xn--bcher-kva.example", "info@b\u00fccher.example", "INFO@B\u00dcCHER.EXAMPLE", "info@bu\u0308cher.example"),
    (SIGMA, CAPITALS, MEDIAL, normalize("NFD", SIGMA)),
    ("stra\u00dfe@example.com", "STRASSE@EXAMPLE.COM", "strasse@example.com", "stra\u1e9ee@example.com"),
    ("\uff21da@example.com", "ada@example.com", "ADA@example.com", " ada@example.com."),
    ("\u0131da@example.com", "IDA@example.com", "\u0130da@example.com", "i\u0307da@example.com"),
    ("Ada <ada@example.com>", "ada@example.com", "ADA@Example.com", "Ada <ada@example.com>"),
]


async def make(admin: Person, email: str) -> httpx.Response:
    return await admin.client.post("/api/v1/users", json={"email": email, "password": PASSWORD})


@pytest.mark.parametrize("spellings", SPELLINGS)
async def test_an_account_is_signed_in_to_by_every_spelling_and_there_is_one(
    admin: Person, anonymous: httpx.AsyncClient, spellings: tuple[str, ...]
) -> None:
    made = await make(admin, spellings[0])
    assert made.status_code == 201
    for spelling in spellings:
        assert (await enter(anonymous, spelling)).status_code == 200, spelling
        found = await admin.client.get("/api/v1/users", params={"email": spelling.split("<")[-1].strip(" .>")})
        assert made.json()["id"] in {user["id"] for user in found.json()["items"]}, spelling
    again = [await make(admin, spelling.rstrip(".")) for spelling in spellings]
    assert {reply.status_code for reply in again} == {409}


@pytest.mark.parametrize("spellings", SPELLINGS)
async def test_resets_by_every_spelling_are_counted_as_one_and_go_to_the_address_that_is_kept(
    admin: Person, anonymous: httpx.AsyncClient, resources: Resources, spellings: tuple[str, ...]
) -> None:
    kept = (await make(admin, spellings[0])).json()["email"]
    for spelling in spellings:
        link = await new_reset_link(resources.database, resources.settings, spelling)
        assert link is not None
        assert link.to == kept
    asked = [spelling.rstrip(".") for spelling in (*spellings, *spellings[:2])]
    statuses = [
        (await anonymous.post("/api/v1/auth/password-reset", json={"email": email})).status_code for email in asked
    ]
    assert statuses == [202] * 5 + [429]


async def test_administrators_are_made_once_however_their_address_is_written(
    resources: Resources, anonymous: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "email").write_text("root@xn--bcher-kva.example\n")
    (tmp_path / "password").write_text(PASSWORD)
    email, password = read_administrator(tmp_path)
    assert email == "root@b\u00fccher.example"
    assert await create_administrator(resources.database, resources.passwords, email, password)
    assert (await enter(anonymous, "root@xn--bcher-kva.example")).status_code == 200
    again = await create_administrator(resources.database, resources.passwords, "ROOT@xn--bcher-kva.example", password)
    assert not again


async def insert(resources: Resources, email: str) -> str:
    """As an earlier release does."""
    user_id = new_id()
    hashed = await resources.passwords.hash(PASSWORD)
    values = {"id": user_id, "email": email, "hash": hashed}
    await run_sql(resources, "INSERT INTO users (id, email, password_hash) VALUES (:id, :email, :hash)", **values)
    return str(user_id)


async def give_keys(resources: Resources) -> None:
    await KeyAddresses(resources.database).run(Job(1, JOB, {}, {}, 1, uuid4(), datetime.now(UTC)))


async def test_rows_of_an_earlier_release_are_signed_in_to_as_before_and_soon_by_every_spelling(
    anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    await insert(resources, SIGMA)
    assert (await enter(anonymous, SIGMA)).status_code == 200
    assert (await enter(anonymous, CAPITALS)).status_code == 401
    await give_keys(resources)
    for spelling in (SIGMA, CAPITALS, MEDIAL):
        assert (await enter(anonymous, spelling)).status_code == 200
    await give_keys(resources)
    assert await run_sql(resources, "SELECT count(*) FROM users WHERE email_keyed = email") == [(1,)]


async def test_an_address_changed_by_an_earlier_release_is_free_and_the_new_one_gets_its_key(
    admin: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    user_id = (await make(admin, SIGMA)).json()["id"]
    await run_sql(resources, "UPDATE users SET email = 'new@example.com' WHERE id = :id", id=user_id)
    assert (await enter(anonymous, SIGMA)).status_code == 401
    assert (await enter(anonymous, "NEW@example.com")).status_code == 200
    assert (await make(admin, CAPITALS)).status_code == 201
    await give_keys(resources)
    assert (await make(admin, "new@EXAMPLE.com")).status_code == 409


@pytest.mark.parametrize("batch", [1, 500])
async def test_two_users_whose_addresses_are_one_both_sign_in_as_before_and_are_named_in_the_log(
    anonymous: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("slipway.users.keys.BATCH", batch)
    older, newer = await insert(resources, SIGMA), await insert(resources, CAPITALS)
    log = io.StringIO()
    writer = configure_logging(resources.settings, log)
    await give_keys(resources)
    writer.close()
    assert f'"users":["{older} {newer}"]' in log.getvalue()
    assert "example.com" not in log.getvalue()
    for spelling, owner in ((SIGMA, older), (CAPITALS, newer), (MEDIAL, newer), (normalize("NFD", SIGMA), older)):
        token = (await enter(anonymous, spelling)).json()["access_token"]
        me = await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert me.json()["id"] == owner, spelling
    await run_sql(resources, "DELETE FROM users WHERE id = :id", id=older)
    await give_keys(resources)
    assert (await enter(anonymous, SIGMA)).status_code == 200


async def test_what_the_database_takes_for_one_letter_is_one_in_the_key_too(resources: Resources) -> None:
    """So every spelling that signed in before does so still."""
    known = [chr(code) for code in range(1, sys.maxunicode + 1) if category(chr(code)) not in {"Cs", "Cn", "Co"}]
    query = "SELECT letter, lower(letter) FROM unnest(CAST(:letters AS text[])) AS letter WHERE lower(letter) <> letter"
    rows = await run_sql(resources, query, letters=known)
    assert [hex(ord(letter)) for letter, lower in rows if folded(letter) != folded(lower)] == []
    assert len(rows) >= 26
