"""Sessions and passwords over HTTP, and what proxies read to check our tokens."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from time import time
from typing import Any

import httpx
import jwt
import pytest

from integration.conftest import PASSWORD, Person, SignIn, enter
from integration.sql import run_sql
from slipway.app import openapi_document
from slipway.auth.tokens import TOKEN_TYPE
from slipway.resources import Resources
from slipway.sessions import queries
from slipway.sessions.service import new_reset_link
from slipway.settings import Settings

NEW_PASSWORD = "an entirely new password"


async def sessions_of(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    reply = await client.get("/api/v1/auth/sessions", params=query)
    assert reply.status_code == 200
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def is_signed_in(client: httpx.AsyncClient) -> bool:
    return (await client.get("/api/v1/users/me")).status_code == 200


async def again(anonymous: httpx.AsyncClient, person: Person) -> Person:
    """The same person on another device."""
    return await enter(anonymous, person.id, person.email)


async def test_wrong_tokens_are_401_with_a_challenge(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    key = resources.keys.current.signing
    good = user.client.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(good, options={"verify_signature": False})
    headers = {"kid": key.id, "typ": TOKEN_TYPE}

    def signed(headers: dict[str, str] = headers, **changes: object) -> str:
        return jwt.encode(claims | changes, key.private, key.algorithm, headers)

    wrong = {
        "none": jwt.encode(claims, None, "none", headers),
        "symmetric": jwt.encode(claims, "s" * 32, "HS256", headers),
        "unknown key": signed(headers | {"kid": "other"}),
        "other issuer": signed(iss="https://else.example"),
        "other audience": signed(aud="else"),
        "expired": signed(exp=int(time()) - 60),
        "not yet valid": signed(nbf=int(time()) + 60),
        "other user": signed(sub="01980d5e-2c5b-7f20-8000-000000000000"),
        "unknown session": signed(sid="01980d5e-2c5b-7f20-8000-000000000000"),
        "garbage": "abc",
    }
    for kind, token in wrong.items():
        reply = await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert (reply.status_code, reply.json()["error"]) == (401, "not_authenticated"), kind
        assert reply.headers["www-authenticate"] == 'Bearer realm="slipway", error="invalid_token"', kind
    for header in ({}, {"Authorization": "Basic YTpi"}):
        reply = await anonymous.get("/api/v1/users/me", headers=header)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, 'Bearer realm="slipway"')
    assert (await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {signed()}"})).status_code == 200


async def test_signing_out_ends_this_session_at_once_and_no_other(anonymous: httpx.AsyncClient, user: Person) -> None:
    other = await again(anonymous, user)
    assert (await user.client.post("/api/v1/auth/logout")).status_code == 204
    assert not await is_signed_in(user.client)
    assert await is_signed_in(other.client)
    assert [entry["current"] for entry in await sessions_of(other.client)] == [True]


async def test_the_list_shows_live_sessions_in_pages(anonymous: httpx.AsyncClient, user: Person) -> None:
    others = [await again(anonymous, user) for _ in range(2)]
    await others[0].client.post("/api/v1/auth/logout")
    listed = await sessions_of(user.client)
    assert [entry["current"] for entry in listed] == [True, False]
    assert {entry["user_id"] for entry in listed} == {user.id}
    assert listed[0]["user_agent"].startswith("python-httpx")
    assert listed[0]["address"] == "127.0.0.1"
    page = (await user.client.get("/api/v1/auth/sessions", params={"per_page": 1, "page": 2})).json()
    assert ([entry["id"] for entry in page["items"]], page["total"]) == ([listed[1]["id"]], 2)


async def test_only_administrators_see_and_end_the_sessions_of_others(
    user: Person, admin: Person, sign_in: SignIn
) -> None:
    stranger = await sign_in("items:read")
    [session] = await sessions_of(user.client)
    path = f"/api/v1/auth/sessions/{session['id']}"
    assert (await stranger.client.get("/api/v1/auth/sessions", params={"user_id": user.id})).status_code == 404
    assert (await stranger.client.delete(path)).status_code == 404
    assert await is_signed_in(user.client)
    assert [entry["id"] for entry in await sessions_of(admin.client, user_id=user.id)] == [session["id"]]
    assert (await admin.client.delete(path)).status_code == 204
    assert not await is_signed_in(user.client)
    assert (await admin.client.delete(path)).status_code == 404


async def change(person: Person, current: str, new: str) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await person.client.post("/api/v1/auth/password", json=body)


async def enters_with(anonymous: httpx.AsyncClient, person: Person, password: str) -> int:
    reply = await anonymous.post("/api/v1/auth/token", data={"username": person.email, "password": password})
    return reply.status_code


async def test_a_changed_password_ends_the_other_sessions(anonymous: httpx.AsyncClient, user: Person) -> None:
    other = await again(anonymous, user)
    assert await is_signed_in(other.client)
    assert (await change(user, PASSWORD, NEW_PASSWORD)).status_code == 204
    assert await is_signed_in(user.client)
    assert not await is_signed_in(other.client)
    assert await enters_with(anonymous, user, PASSWORD) == 401
    assert await enters_with(anonymous, user, NEW_PASSWORD) == 200


async def test_a_wrong_current_password_changes_nothing_and_is_throttled(
    anonymous: httpx.AsyncClient, user: Person
) -> None:
    wrong = [await change(user, "wrong", NEW_PASSWORD) for _ in range(6)]
    assert [reply.status_code for reply in wrong] == [422] * 5 + [429]
    assert wrong[0].json()["details"][0]["location"] == "body.current_password"
    assert await enters_with(anonymous, user, NEW_PASSWORD) == 429


async def test_a_new_password_must_keep_the_rules(user: Person) -> None:
    for new in ("short", "x" * 129):
        reply = await change(user, PASSWORD, new)
        assert (reply.status_code, reply.json()["details"][0]["location"]) == (422, "body.new_password")
        assert new not in reply.text


async def ask(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/api/v1/auth/password-reset", json={"email": email})


async def confirm(client: httpx.AsyncClient, token: str, new: str = NEW_PASSWORD) -> httpx.Response:
    return await client.post("/api/v1/auth/password-reset/confirm", json={"token": token, "new_password": new})


async def mailed_token(resources: Resources, person: Person) -> str:
    """What the mail job puts into the mail."""
    link = await new_reset_link(resources.database, resources.settings, person.email)
    assert link is not None
    return link.link.partition("token=")[2].partition("#")[0]


async def test_asking_for_a_reset_says_the_same_to_everybody_and_queues_no_secret(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    known, unknown = await ask(anonymous, user.email), await ask(anonymous, "nobody@example.com")
    assert (known.status_code, known.json()) == (202, unknown.json())
    rows = await run_sql(resources, "SELECT payload FROM jobs ORDER BY id")
    assert [row[0] for row in rows] == [
        {"to": email, "template": "password_reset", "values": {}} for email in (user.email, "nobody@example.com")
    ]
    assert await new_reset_link(resources.database, resources.settings, "nobody@example.com") is None


async def test_mails_to_one_address_are_limited_whoever_asks(anonymous: httpx.AsyncClient, user: Person) -> None:
    statuses = [(await ask(anonymous, user.email)).status_code for _ in range(6)]
    assert statuses == [202] * 5 + [429]
    assert await enters_with(anonymous, user, PASSWORD) == 200, "signing in is counted apart"


async def test_a_mailed_token_sets_a_password_once_and_ends_all_sessions(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    token, spare = await mailed_token(resources, user), await mailed_token(resources, user)
    for _ in range(6):
        await enters_with(anonymous, user, "wrong")
    assert (await confirm(anonymous, token, "short")).json()["details"][0]["location"] == "body.new_password"
    assert (await confirm(anonymous, token)).status_code == 204
    assert not await is_signed_in(user.client)
    assert await enters_with(anonymous, user, NEW_PASSWORD) == 200, "back-off doesn't outlive the reset"
    for used in (token, spare, "made up"):
        reply = await confirm(anonymous, used, "yet another password")
        assert (reply.status_code, reply.json()["details"][0]["location"]) == (422, "body.token")
    rows = str(await run_sql(resources, "SELECT encode(token_hash, 'escape') FROM password_resets"))
    assert token not in rows


async def confirm_at_once(anonymous: httpx.AsyncClient, token: str) -> list[int]:
    replies = await asyncio.gather(*(confirm(anonymous, token, f"{NEW_PASSWORD} {number}") for number in range(8)))
    return sorted(reply.status_code for reply in replies)


async def test_a_token_used_by_many_at_once_works_for_one(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    assert await confirm_at_once(anonymous, await mailed_token(resources, user)) == [204] + [422] * 7


async def test_without_compare_and_set_a_token_would_work_for_many(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(queries, "use_password_reset", always)
    assert (await confirm_at_once(anonymous, await mailed_token(resources, user))).count(204) > 1


async def test_an_expired_token_and_one_of_a_switched_off_account_are_refused(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    token = await mailed_token(resources, user)
    await run_sql(resources, "UPDATE users SET is_active = false")
    assert (await confirm(anonymous, token)).status_code == 422
    assert await new_reset_link(resources.database, resources.settings, user.email) is None
    await run_sql(resources, "UPDATE users SET is_active = true")
    await run_sql(resources, "UPDATE password_resets SET expires_at = now()")
    assert (await confirm(anonymous, token)).status_code == 422


async def test_discovery_names_the_issuer_of_the_settings_whatever_host_was_asked(
    anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    reply = await anonymous.get("/.well-known/openid-configuration", headers={"Host": "evil.example"})
    issuer = resources.settings.issuer
    assert reply.json()["issuer"] == issuer
    assert reply.json()["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert reply.json()["token_endpoint"] == f"{issuer}/api/v1/auth/token"
    assert reply.json()["id_token_signing_alg_values_supported"] == ["EdDSA"]
    assert "evil" not in reply.text
    assert reply.headers["cache-control"] == "public, max-age=60"


async def test_the_published_keys_verify_our_tokens(anonymous: httpx.AsyncClient, user: Person) -> None:
    reply = await anonymous.get("/.well-known/jwks.json")
    assert reply.headers["cache-control"] == "public, max-age=60"
    [published] = jwt.PyJWKSet.from_dict(reply.json()).keys
    token = user.client.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, published, audience="slipway", leeway=timedelta(seconds=5))
    assert claims["sub"] == user.id
    assert not {"d", "p", "q"} & json.loads(reply.text)["keys"][0].keys()


def test_the_documented_scheme_is_the_password_grant_on_every_signed_in_route() -> None:
    document = openapi_document(Settings())
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert scheme["flows"]["password"]["tokenUrl"] == "/api/v1/auth/token"
    assert document["paths"]["/api/v1/users/me"]["get"]["security"] == [{name: []}]
    assert document["paths"]["/api/v1/users"]["get"]["security"] == [{name: ["admin:write"]}]
    assert "security" not in document["paths"]["/api/v1/auth/token"]["post"]
