"""Users over HTTP: who sees whom, who changes what, and the administrator who can't be lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from integration.conftest import PASSWORD, Person, SignIn, enter
from integration.sql import run_sql
from servers.staging import staged
from slipway.app import openapi_document
from slipway.auth.dependencies import Principal
from slipway.resources import Resources
from slipway.sessions.service import new_reset_link
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.unit import Transaction
from slipway.users import queries, service
from slipway.users.service import UserChange

TRY = Action("tests", "try")

NEW = {"email": "Ada@Example.com", "password": "correct horse battery", "display_name": "Ada"}


async def test_an_administrator_creates_a_user_who_can_sign_in(admin: Person, anonymous: httpx.AsyncClient) -> None:
    made = await admin.client.post("/api/v1/users", json=NEW)
    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/v1/users/{made.json()['id']}"
    assert made.headers["ETag"] == '"1"'
    assert "password" not in made.text
    signed_in = await anonymous.post(
        "/api/v1/auth/token", data={"username": "ada@example.com", "password": NEW["password"]}
    )
    assert signed_in.status_code == 200


async def test_an_address_is_unique_regardless_of_case(admin: Person) -> None:
    assert (await admin.client.post("/api/v1/users", json=NEW)).status_code == 201
    again = await admin.client.post("/api/v1/users", json={**NEW, "email": "aDA@example.COM"})
    assert again.status_code == 409
    assert again.json()["error"] == "conflict"


async def test_me_is_the_signed_in_user(user: Person) -> None:
    me = await user.client.get("/api/v1/users/me")
    assert me.status_code == 200
    assert (me.json()["id"], me.json()["email"]) == (user.id, user.email)


async def test_strangers_are_told_that_a_user_does_not_exist(user: Person, admin: Person) -> None:
    for method, body in (
        ("GET", None),
        ("PUT", {"email": "x@example.com", "display_name": "", "is_active": True}),
        ("PATCH", {"display_name": "x"}),
    ):
        reply = await user.client.request(method, f"/api/v1/users/{admin.id}", json=body)
        assert reply.status_code == 404, method


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/users"),
        ("POST", "/api/v1/users"),
        ("DELETE", "/api/v1/users/{id}"),
        ("PUT", "/api/v1/users/{id}/permissions"),
    ],
)
async def test_administration_is_for_administrators(user: Person, method: str, path: str) -> None:
    body = {"POST": NEW, "PUT": {"permissions": []}}.get(method)
    reply = await user.client.request(method, path.replace("{id}", user.id), json=body)
    assert reply.status_code == 403


async def test_users_change_themselves_but_do_not_switch_themselves_off(user: Person) -> None:
    renamed = await user.client.patch(f"/api/v1/users/{user.id}", json={"display_name": "New name"})
    assert (renamed.status_code, renamed.json()["display_name"]) == (200, "New name")
    assert (await user.client.get("/api/v1/users/me")).json()["display_name"] == "New name"
    off = await user.client.patch(f"/api/v1/users/{user.id}", json={"is_active": False})
    assert off.status_code == 403


async def test_a_replaced_user_carries_a_new_etag_and_the_old_one_is_refused(user: Person) -> None:
    path = f"/api/v1/users/{user.id}"
    before = (await user.client.get(path)).headers["ETag"]
    body = {"email": user.email, "display_name": "One", "is_active": True}
    assert (await user.client.put(path, json=body, headers={"If-Match": before})).headers["ETag"] == '"2"'
    stale = await user.client.put(path, json=body, headers={"If-Match": before})
    assert (stale.status_code, stale.json()["error"]) == (412, "precondition_failed")


async def test_the_list_has_pages_a_filter_and_cursors(admin: Person, sign_in: SignIn) -> None:
    others = [await sign_in() for _ in range(4)]
    page = (await admin.client.get("/api/v1/users", params={"per_page": 2, "page": 2})).json()
    assert (page["total"], page["page"], page["per_page"], len(page["items"])) == (5, 2, 2, 2)
    found = (await admin.client.get("/api/v1/users", params={"email": others[0].email.upper()})).json()
    assert [entry["id"] for entry in found["items"]] == [others[0].id]
    walked: list[str] = []
    params: dict[str, str | int] = {"per_page": 2}
    while True:
        part = (await admin.client.get("/api/v1/users", params=params)).json()
        walked += [entry["id"] for entry in part["items"]]
        if part["next_cursor"] is None:
            break
        params["cursor"] = part["next_cursor"]
    assert walked == [admin.id, *(other.id for other in others)]
    assert part["total"] is None


async def test_the_total_follows_a_new_user_at_once(admin: Person, sign_in: SignIn) -> None:
    await sign_in()
    assert (await admin.client.get("/api/v1/users", params={"per_page": 1})).json()["total"] == 2
    await admin.client.post("/api/v1/users", json=NEW)
    assert (await admin.client.get("/api/v1/users", params={"per_page": 1})).json()["total"] == 3


async def test_taking_a_permission_away_takes_effect_on_tokens_in_use(admin: Person, user: Person) -> None:
    assert (await user.client.get("/api/v1/items")).status_code == 200
    changed = await admin.client.put(f"/api/v1/users/{user.id}/permissions", json={"permissions": ["items:write"]})
    assert changed.json()["permissions"] == ["items:write"]
    assert (await user.client.get("/api/v1/items")).status_code == 403


async def test_a_permission_given_later_does_not_widen_a_token_in_use(
    admin: Person, user: Person, anonymous: httpx.AsyncClient
) -> None:
    given = ["admin:write", "items:read", "items:write"]
    await admin.client.put(f"/api/v1/users/{user.id}/permissions", json={"permissions": given})
    assert (await user.client.get("/api/v1/users")).status_code == 403
    again = await enter(anonymous, user.id, user.email)
    assert (await again.client.get("/api/v1/users")).status_code == 200


async def test_a_user_who_was_changed_meanwhile_is_not_deleted(admin: Person, user: Person) -> None:
    path = f"/api/v1/users/{user.id}"
    before = (await admin.client.get(path)).headers["ETag"]
    now = (await user.client.patch(path, json={"display_name": "New"})).headers["ETag"]
    stale = await admin.client.delete(path, headers={"If-Match": before})
    assert (stale.status_code, stale.json()["error"]) == (412, "precondition_failed")
    assert (await admin.client.delete(path, headers={"If-Match": now})).status_code == 204


async def test_deleting_a_user_ends_their_sessions(admin: Person, user: Person) -> None:
    assert (await user.client.get("/api/v1/users/me")).status_code == 200
    assert (await admin.client.delete(f"/api/v1/users/{user.id}")).status_code == 204
    assert (await user.client.get("/api/v1/users/me")).status_code == 401
    assert (await admin.client.get(f"/api/v1/users/{user.id}")).status_code == 404


@pytest.mark.parametrize("how", ["delete", "demote", "switch off"])
async def test_the_last_administrator_cannot_be_removed(admin: Person, how: str) -> None:
    reply = await _remove_administrator(admin, admin.id, how)
    assert (reply.status_code, reply.json()["error"]) == (409, "conflict")


async def _remove_administrator(actor: Person, target: str, how: str) -> httpx.Response:
    path = f"/api/v1/users/{target}"
    if how == "delete":
        return await actor.client.delete(path)
    if how == "demote":
        return await actor.client.put(f"{path}/permissions", json={"permissions": []})
    return await actor.client.patch(path, json={"is_active": False})


async def test_two_administrators_who_remove_each_other_at_once_leave_one(
    sign_in: SignIn, resources: Resources
) -> None:
    first, second = await sign_in("admin:write"), await sign_in("admin:write")
    statuses = [
        reply.status_code
        for reply in await asyncio.gather(
            _remove_administrator(first, second.id, "demote"), _remove_administrator(second, first.id, "demote")
        )
    ]
    # The loser would remove the last one; or is none any more when that is read, and sees no such user then.
    assert sorted(statuses) in ([200, 409], [200, 404])
    assert len(await resources.database.unit(TRY, queries.lock_administrators)) == 1


async def test_who_was_removed_as_an_administrator_meanwhile_sees_no_such_user(sign_in: SignIn) -> None:
    first, second = await sign_in("admin:write"), await sign_in("admin:write")
    assert (await _remove_administrator(first, second.id, "demote")).status_code == 200
    assert (await _remove_administrator(second, first.id, "demote")).status_code == 404


async def test_without_the_lock_two_administrators_could_remove_each_other(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    """Negative control: the guard switched off, both removals succeed and nobody is left."""
    monkeypatch.setattr(service, "_refuse_if_last", lambda *_: None)
    first, second = await sign_in("admin:write"), await sign_in("admin:write")
    await _remove_administrator(first, first.id, "demote")
    await _remove_administrator(second, second.id, "demote")
    assert await resources.database.unit(TRY, queries.lock_administrators) == []


@pytest.mark.parametrize("body", [{}, {"email": None}, {"display_name": "a\x00b"}, {"unknown": 1}, {"email": "nobody"}])
async def test_a_senseless_change_is_refused_with_a_reason(user: Person, body: dict[str, object]) -> None:
    reply = await user.client.patch(f"/api/v1/users/{user.id}", json=body)
    assert reply.status_code == 422
    assert reply.json()["details"][0]["location"].startswith("body")


async def test_a_refused_password_is_not_repeated_in_the_reply(admin: Person) -> None:
    reply = await admin.client.post("/api/v1/users", json={**NEW, "password": "tooshort1"})
    assert reply.status_code == 422
    assert "tooshort1" not in reply.text


async def test_a_welcome_mail_is_queued_with_the_user(admin: Person, resources: Resources) -> None:
    assert PASSWORD  # the mail carries no password: only name and address
    await admin.client.post("/api/v1/users", json=NEW)
    async with staged(resources.database) as session:
        from sqlalchemy import text  # noqa: PLC0415

        payloads = [str(row) for row in await session.execute(text("SELECT * FROM jobs"))]
    assert any("Ada@Example.com" in payload or "Ada@example.com" in payload for payload in payloads)
    assert not any(str(NEW["password"]) in payload for payload in payloads)


async def test_replacing_a_user_never_switches_a_disabled_one_on_unasked(admin: Person, user: Person) -> None:
    path = f"/api/v1/users/{user.id}"
    assert (await admin.client.patch(path, json={"is_active": False})).status_code == 200
    body: dict[str, object] = {"email": user.email, "display_name": "Renamed"}
    unsaid = await admin.client.put(path, json=body)
    assert (unsaid.status_code, unsaid.json()["details"][0]["location"]) == (422, "body.is_active")
    replaced = await admin.client.put(path, json={**body, "is_active": False})
    assert (replaced.status_code, replaced.json()["is_active"]) == (200, False)


async def test_me_is_the_same_document_as_the_users_own_page(admin: Person, user: Person, resources: Resources) -> None:
    await run_sql(resources, "UPDATE users SET permissions = '{items:write,admin:write,items:read}'")
    resources.principals.forget_user(UUID(user.id))
    me, page = await user.client.get("/api/v1/users/me"), await user.client.get(f"/api/v1/users/{user.id}")
    assert me.json()["permissions"] == ["admin:write", "items:read", "items:write"]
    assert (me.content, me.headers["ETag"]) == (page.content, page.headers["ETag"])
    assert (await user.client.get("/api/v1/users")).status_code == 403, "the token carries less than the row"
    assert admin.id != user.id


NEW_ADDRESS = "thief@example.com"


async def _mails(resources: Resources, template: str) -> list[str]:
    rows = await run_sql(resources, "SELECT payload FROM jobs ORDER BY id")
    return [payload["to"] for (payload,) in rows if payload.get("template") == template]


def _put(user: Person, **changes: object) -> dict[str, object]:
    return {"email": user.email, "display_name": "", "is_active": True, **changes}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("password", [None, "not the password"])
async def test_a_stolen_token_does_not_change_the_address(
    user: Person, resources: Resources, method: str, password: str | None
) -> None:
    change: dict[str, object] = {"email": NEW_ADDRESS} | ({"current_password": password} if password else {})
    body = _put(user, **change) if method == "PUT" else change
    reply = await user.client.request(method, f"/api/v1/users/{user.id}", json=body)
    assert (reply.status_code, reply.json()["details"][0]["location"]) == (422, "body.current_password")
    assert (await user.client.get("/api/v1/users/me")).json()["email"] == user.email
    assert await _mails(resources, "email_change") == []


async def test_without_asking_for_the_password_a_token_would_change_the_address(
    user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proven(session: Transaction, actor: Principal, user_id: UUID, wanted: UserChange, *rest: Any) -> Any:
        return await change(session, actor, user_id, replace(wanted, by_password=True), *rest)

    change = service.change
    monkeypatch.setattr(service, "change", proven)
    assert (await user.client.patch(f"/api/v1/users/{user.id}", json={"email": NEW_ADDRESS})).status_code == 202


async def test_guessing_the_password_by_address_changes_is_throttled_like_signing_in(user: Person) -> None:
    body = {"email": NEW_ADDRESS, "current_password": "a guess"}
    statuses = [(await user.client.patch(f"/api/v1/users/{user.id}", json=body)).status_code for _ in range(6)]
    assert statuses == [422] * 5 + [429]


async def test_an_administrator_changes_the_address_of_others_without_a_password(
    admin: Person, user: Person, resources: Resources
) -> None:
    changed = await admin.client.patch(f"/api/v1/users/{user.id}", json={"email": "new@example.com"})
    assert changed.status_code == 200
    assert await _mails(resources, "email_changed") == [user.email]
    own = await admin.client.patch(f"/api/v1/users/{admin.id}", json={"email": "other@example.com"})
    assert own.status_code == 422


async def test_a_change_of_address_by_an_administrator_ends_reset_links_and_tells_the_old_one(
    admin: Person, user: Person, resources: Resources
) -> None:
    made = await new_reset_link(resources.database, resources.settings, user.email)
    assert made is not None
    changed = await admin.client.patch(f"/api/v1/users/{user.id}", json={"email": "new@example.com"})
    assert (changed.status_code, changed.json()["email"]) == (200, "new@example.com")
    assert await _mails(resources, "email_changed") == [user.email]
    reset = {
        "token": made.link.partition("token=")[2].partition("#")[0],
        "new_password": "a password of the thief",
    }
    assert (await user.client.post("/api/v1/auth/password-reset/confirm", json=reset)).status_code == 422


async def test_the_password_alone_changes_nothing(user: Person) -> None:
    reply = await user.client.patch(f"/api/v1/users/{user.id}", json={"current_password": PASSWORD})
    assert reply.status_code == 422


async def test_no_connection_is_held_while_a_new_users_password_is_hashed(
    admin: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    hash_new = resources.passwords.hash

    async def watched(password: str) -> str:
        held.append(resources.database.connections.in_use)
        return await hash_new(password)

    monkeypatch.setattr(resources.passwords, "hash", watched)
    headers = {"Idempotency-Key": "one-user-please"}
    replies = [await admin.client.post("/api/v1/users", json=NEW, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert held == [0, 0]


def test_the_schema_says_how_long_a_password_must_be() -> None:
    schema = openapi_document(Settings())["components"]["schemas"]["UserCreate"]
    password = schema["properties"]["password"]
    assert (password["minLength"], password["maxLength"]) == (12, 128)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_nobody_can_be_read_changed_or_deleted_who_is_not_there(admin: Person, method: str) -> None:
    document = {"display_name": "New"} if method == "PATCH" else None
    reply = await admin.client.request(method, f"/api/v1/users/{uuid4()}", json=document)
    assert (reply.status_code, reply.json()["message"]) == (404, "There is no such user.")
