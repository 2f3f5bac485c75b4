"""What a client is told where a row would refer to nothing, or repeat another: no name of a constraint decides it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from integration.conftest import PASSWORD, Person
from integration.sql import run_sql
from servers.databases import TestDatabase, superuser_sql
from slipway.auth.principals import Principals
from slipway.items.service import ITEMS
from slipway.resources import Resources
from slipway.sessions import service

ITEM = {"title": "Paint the hull"}


async def _write_as_a_deleted_user(user: Person, resources: Resources) -> httpx.Response:
    """What this process believes for a moment: a user that another process has deleted."""
    assert (await user.client.get("/api/v1/users/me")).status_code == 200
    await run_sql(resources, "DELETE FROM users WHERE id = :id", id=user.id)
    return await user.client.post("/api/v1/items", json=ITEM)


async def test_a_row_for_a_user_who_was_just_deleted_is_their_sessions_end(user: Person, resources: Resources) -> None:
    reply = await _write_as_a_deleted_user(user, resources)
    assert (reply.status_code, reply.json()["message"]) == (401, "This session has ended: sign in again.")
    assert reply.headers["www-authenticate"] == 'Bearer realm="slipway", error="invalid_token"'


async def test_without_looking_again_it_would_be_a_conflict(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Principals, "forget", lambda *_: None)
    assert (await _write_as_a_deleted_user(user, resources)).status_code == 409


async def test_a_reference_to_somebody_else_who_is_gone_is_a_conflict_and_ends_no_session(
    user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ITEMS.new
    monkeypatch.setattr(ITEMS, "new", lambda _, content: new(uuid4(), content))
    reply = await user.client.post("/api/v1/items", json=ITEM)
    assert (reply.status_code, reply.json()["error"]) == (409, "conflict")
    monkeypatch.undo()
    assert (await user.client.post("/api/v1/items", json=ITEM)).status_code == 201


async def test_a_row_that_repeats_what_is_unique_is_a_conflict_and_does_not_use_up_its_key(
    user: Person, database: TestDatabase
) -> None:
    await superuser_sql(
        database.server, "CREATE UNIQUE INDEX any_name ON items (owner_id, title)", database=database.name
    )
    key = {"Idempotency-Key": str(uuid4())}
    first = await user.client.post("/api/v1/items", json=ITEM)
    second = await user.client.post("/api/v1/items", json=ITEM, headers=key)
    assert (second.status_code, second.json()["error"]) == (409, "conflict")
    other = (await user.client.post("/api/v1/items", json={"title": "other"})).headers["Location"]
    assert (await user.client.patch(other, json=ITEM)).status_code == 409
    assert (await user.client.delete(first.headers["Location"])).status_code == 204
    assert (await user.client.post("/api/v1/items", json=ITEM, headers=key)).status_code == 201


async def test_signing_in_as_who_is_deleted_meanwhile_is_refused(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = service._start_session  # noqa: SLF001 - right before the row of the session is written

    async def late(*arguments: Any) -> Any:
        await run_sql(resources, "DELETE FROM users")
        return await start(*arguments)

    monkeypatch.setattr(service, "_start_session", late)
    reply = await anonymous.post("/api/v1/auth/token", data={"username": user.email, "password": PASSWORD})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_credentials")
