"""Text that PostgreSQL can't hold, in every place of a request that takes text."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from integration.conftest import PASSWORD, Person
from integration.domains.kept import KEPT

USER = "/api/v1/users/{user}"
ADDRESS = "a@example.com"
MEMBERS: list[tuple[str, str, dict[str, Any], str]] = [
    *(("POST", kept.at, kept.body, member) for kept in KEPT for member in kept.texts),
    *(("PUT", kept.one, kept.body, member) for kept in KEPT for member in kept.texts),
    *(("PATCH", kept.one, {}, member) for kept in KEPT for member in kept.texts),
    ("POST", "/api/v1/users", {"email": ADDRESS, "password": PASSWORD}, "display_name"),
    ("POST", "/api/v1/users", {"password": PASSWORD}, "email"),
    ("PUT", USER, {"email": ADDRESS, "is_active": True}, "display_name"),
    ("PATCH", USER, {}, "display_name"),
    ("PATCH", USER, {}, "email"),
    ("PUT", USER + "/permissions", {}, "permissions"),
    ("POST", "/api/v1/exports", {}, "format"),
    ("POST", "/api/v1/auth/password-reset", {}, "email"),
]
SECRETS: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/api/v1/users", {"email": ADDRESS}, "password"),
    ("PATCH", USER, {"email": ADDRESS}, "current_password"),
    ("POST", "/api/v1/auth/password", {"new_password": PASSWORD}, "current_password"),
    ("POST", "/api/v1/auth/password", {"current_password": PASSWORD}, "new_password"),
    ("POST", "/api/v1/auth/refresh", {}, "refresh_token"),
    ("POST", "/api/v1/auth/password-reset/confirm", {"new_password": PASSWORD}, "token"),
]
NUL, HALF, SWAPPED = "a long text\x00 indeed", "a long text\ud800 indeed", "a long text\udc00\ud800 indeed"


async def _send(admin: Person, method: str, path: str, content: object, **ids: str) -> httpx.Response:
    body = json.dumps(content).encode()
    address = path.format(user=admin.id, **ids)
    return await admin.client.request(method, address, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("place", sorted({path.split("/")[3] for _, path, _, _ in MEMBERS}))
async def test_text_that_cannot_be_stored_is_the_clients_mistake_in_every_member(admin: Person, place: str) -> None:
    ids = {kept.parameter: (await admin.client.post(kept.at, json=kept.body)).json()["id"] for kept in KEPT}
    for method, path, content, member in (each for each in MEMBERS if each[1].split("/")[3] == place):
        for text in (NUL, HALF, SWAPPED):
            value: object = [text] if member == "permissions" else text
            reply = await _send(admin, method, path, content | {member: value}, **ids)
            assert reply.status_code == 422, (method, path, member, reply.text)
            assert reply.json()["details"][0]["location"].startswith(f"body.{member}")


async def test_a_secret_of_any_letters_is_no_fault_of_ours(admin: Person) -> None:
    for method, path, content, member in SECRETS:
        for text in (NUL, HALF, SWAPPED):
            reply = await _send(admin, method, path, content | {member: text})
            assert reply.status_code < 500, (method, path, member, reply.text)


@pytest.mark.parametrize("content", [{"\ud800": 1}, {"\x00": 1}, {"title": {"\ud800": 1}}, ["\ud800"], "\ud800"])
async def test_names_of_members_may_be_anything_and_are_answered(admin: Person, content: object) -> None:
    reply = await _send(admin, "POST", "/api/v1/items", content)
    assert reply.status_code == 422
    assert reply.json()["error"] == "validation_failed"


FORMS = (
    "username=%00&password=x",
    "username=%ED%A0%80&password=x",
    "username=a&password=%ED%A0%80",
    "username=a&password=a%00",
    "username=a&password=x&scope=%00",
)


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_of_any_letters_is_refused_and_no_fault_of_ours(anonymous: httpx.AsyncClient, form: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await anonymous.post("/api/v1/auth/token", content=form, headers=headers)
    assert reply.status_code in (401, 422), reply.text
