"""The token endpoint and revocation as OAuth clients use them: RFC 6749 and 7009, as the discovery document says."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest

from integration.conftest import PASSWORD, Person
from integration.sql import run_sql
from slipway.auth.permissions import defaults
from slipway.resources import Resources

TOKEN, REVOKE = "/api/v1/auth/token", "/api/v1/auth/revoke"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SCOPE = " ".join(sorted(defaults()))
"""What the user of these tests may do, as a token tells it."""


@pytest.fixture
async def tokens(anonymous: httpx.AsyncClient, user: Person) -> dict[str, Any]:
    return await granted(anonymous, grant_type="password", username=user.email, password=PASSWORD)


async def granted(client: httpx.AsyncClient, **form: str) -> dict[str, Any]:
    reply = await client.post(TOKEN, data=form)
    assert reply.status_code == 200, reply.text
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    found: dict[str, Any] = reply.json()
    assert found["token_type"].lower() == "bearer"
    return found


async def refused(client: httpx.AsyncClient, path: str = TOKEN, **form: str) -> str:
    return error_of(await client.post(path, data=form))


def error_of(reply: httpx.Response) -> str:
    """The RFC's word of a refusal that has everything which a client, or a reader of our problems, looks for."""
    body = reply.json()
    assert (reply.status_code, body["status"]) == (400, 400), reply.text
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    assert body["error_description"] == body["message"] == body["detail"]
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in body["error_description"])
    assert body["request_id"] == reply.headers["x-request-id"]
    return str(body["error"])


async def accepted(client: httpx.AsyncClient, access: str) -> bool:
    reply = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {access}"})
    return reply.status_code == 200


async def test_a_refresh_token_is_used_at_the_token_endpoint(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    fresh = await granted(anonymous, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert fresh["scope"] == tokens["scope"] == SCOPE
    assert await accepted(anonymous, fresh["access_token"])
    # Either door takes what the other gave.
    body = {"refresh_token": fresh["refresh_token"]}
    other = (await anonymous.post("/api/v1/auth/refresh", json=body)).json()
    await granted(anonymous, grant_type="refresh_token", refresh_token=other["refresh_token"], client_id="app")


async def test_refresh_tokens_that_are_not_valid_are_invalid_grants(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any], resources: Resources
) -> None:
    first = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    second = await granted(anonymous, **first)
    newest = await granted(anonymous, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert await refused(anonymous, grant_type="refresh_token", refresh_token="unknown") == "invalid_grant"
    assert await refused(anonymous, grant_type="refresh_token", refresh_token="\U0001f600" * 500) == "invalid_grant"
    assert await refused(anonymous, grant_type="refresh_token", refresh_token=tokens["access_token"]) == "invalid_grant"
    assert await refused(anonymous, **first) == "invalid_grant", "used twice over: the family ends"
    assert (
        await refused(anonymous, grant_type="refresh_token", refresh_token=newest["refresh_token"]) == "invalid_grant"
    )
    assert not await accepted(anonymous, newest["access_token"])
    reasons = await run_sql(resources, "SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL")
    assert reasons == [("refresh_token_reused",)]


NO_REQUESTS = (
    ("grant_type=client_credentials", "unsupported_grant_type"),
    ("grant_type=authorization_code&code=x", "unsupported_grant_type"),
    ("grant_type=PASSWORD&username=a&password=b", "unsupported_grant_type"),
    ("grant_type=refresh_token", "invalid_request"),
    ("grant_type=refresh_token&refresh_token=", "invalid_request"),
    ("grant_type=refresh_token&refresh_token=a&refresh_token=a", "invalid_request"),
    ("grant_type=refresh_token&grant_type=refresh_token&refresh_token=a", "invalid_request"),
    ("grant_type=refresh_token&refresh_token=a&scope=x&scope=y", "invalid_request"),
    ("username=a&password=b&username=c", "invalid_request"),
    ("grant_type=password", "invalid_request"),
    ("grant_type=password&username=a", "invalid_request"),
    ("grant_type=password&username=&password=b", "invalid_request"),
    ("grant_type=password&username=a%00&password=b", "invalid_request"),
    (f"grant_type=password&username=a&password={'x' * 513}", "invalid_request"),
)


async def test_what_is_no_request_is_told_in_oauths_words(anonymous: httpx.AsyncClient) -> None:
    for form, error in NO_REQUESTS:
        reply = await anonymous.post(TOKEN, content=form, headers=FORM)
        assert error_of(reply) == error, form
        assert "x" * 513 not in reply.text
        if error == "invalid_request":
            assert reply.json()["details"], f"which parameter of {form}"


async def test_what_is_not_known_is_ignored_and_so_is_the_way_a_client_names_itself(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    form = (
        f"grant_type=refresh_token&refresh_token={tokens['refresh_token']}&resource=a&resource=b&client_secret=&scope="
    )
    reply = await anonymous.post(TOKEN, content=form, headers={**FORM, "Authorization": "Basic YXBwOnNlY3JldA=="})
    assert (reply.status_code, reply.json()["scope"]) == (200, SCOPE)


async def test_a_wrong_password_is_an_invalid_grant_to_who_names_the_grant_and_401_to_who_does_not(
    anonymous: httpx.AsyncClient, user: Person
) -> None:
    wrong = {"username": user.email, "password": "wrong"}
    assert await refused(anonymous, grant_type="password", **wrong) == "invalid_grant"
    reply = await anonymous.post(TOKEN, data=wrong)
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_credentials")
    assert "error_description" not in reply.json()
    refusals = [(await anonymous.post(TOKEN, data={"grant_type": "password", **wrong})) for _ in range(4)]
    assert (refusals[-1].status_code, refusals[-1].json()["error"]) == (429, "rate_limited")


async def test_a_refresh_may_ask_for_less_and_the_next_one_has_all_again(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": "items:read"}
    less = await granted(anonymous, **form)
    claims = jwt.decode(less["access_token"], options={"verify_signature": False})
    assert (less["scope"], claims["scope"]) == ("items:read", "items:read")
    headers = {"Authorization": f"Bearer {less['access_token']}"}
    assert (await anonymous.get("/api/v1/items", headers=headers)).status_code == 200
    assert (await anonymous.post("/api/v1/items", json={"title": "x"}, headers=headers)).status_code == 403
    again = await granted(anonymous, grant_type="refresh_token", refresh_token=less["refresh_token"])
    assert again["scope"] == SCOPE


async def test_a_refresh_that_asks_for_more_is_refused_and_uses_nothing_up(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for scope in ("admin:write", "items:read admin:write", "nonsense", '"', "items:read\titems:sell"):
        assert await refused(anonymous, **form, scope=scope) == "invalid_scope", scope
    first, second = await granted(anonymous, **form), await granted(anonymous, **form)
    assert first["refresh_token"] == second["refresh_token"], "the first use was the first"


# Revocation


HINTS = (None, "access_token", "refresh_token", "pct", "")


async def test_revoking_either_token_ends_all_tokens_of_its_session_whatever_the_hint(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    for kind in ("access_token", "refresh_token"):
        for hint in HINTS:
            tokens = await granted(anonymous, grant_type="password", username=user.email, password=PASSWORD)
            form = {"token": tokens[kind], **({} if hint is None else {"token_type_hint": hint}), "client_id": "app"}
            assert await accepted(anonymous, tokens["access_token"])
            reply = await anonymous.post(REVOKE, data=form)
            assert (reply.status_code, reply.content, reply.headers["cache-control"]) == (200, b"", "no-store")
            assert not await accepted(anonymous, tokens["access_token"]), form
            refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            assert await refused(anonymous, **refresh) == "invalid_grant", form
    assert (await user.client.get("/api/v1/users/me")).status_code == 200, "another session goes on"
    reasons = await run_sql(resources, "SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL")
    assert reasons == [("token_revoked",)] * 2 * len(HINTS)


async def test_a_used_refresh_token_still_names_the_session_to_end(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    fresh = await granted(anonymous, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert (await anonymous.post(REVOKE, data={"token": tokens["refresh_token"]})).status_code == 200
    assert not await accepted(anonymous, fresh["access_token"])


async def test_a_token_that_is_none_is_answered_like_one_that_is(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    forged = jwt.encode({"sub": "x"}, "k" * 32, "HS256")
    header, claims, signature = tokens["access_token"].split(".")
    for token in (
        "unknown",
        forged,
        f"{header}.{claims}.{signature[::-1]}",
        "x" * 100_000,
        "\x00",
        "\U0001f600",
        "a.b.c",
    ):
        reply = await anonymous.post(REVOKE, data={"token": token})
        assert (reply.status_code, reply.content) == (200, b""), token[:40]
    assert await accepted(anonymous, tokens["access_token"])
    for _ in range(2):
        assert (await anonymous.post(REVOKE, data={"token": tokens["refresh_token"]})).status_code == 200


async def test_a_revocation_without_its_token_is_an_invalid_request(anonymous: httpx.AsyncClient) -> None:
    for form in ("", "token=", "token=a&token=a", "token=a&token_type_hint=b&token_type_hint=b"):
        assert error_of(await anonymous.post(REVOKE, content=form, headers=FORM)) == "invalid_request", form


async def test_a_refresh_and_a_revocation_at_once_leave_nothing_that_works(
    anonymous: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refreshed, revoked = await asyncio.gather(
        anonymous.post(TOKEN, data=refresh), anonymous.post(REVOKE, data={"token": tokens["refresh_token"]})
    )
    assert revoked.status_code == 200
    if refreshed.status_code == 200:
        assert not await accepted(anonymous, refreshed.json()["access_token"])
        again = {"grant_type": "refresh_token", "refresh_token": refreshed.json()["refresh_token"]}
        assert await refused(anonymous, **again) == "invalid_grant"


# Discovery


async def test_every_endpoint_of_the_discovery_document_is_there_and_takes_what_it_says(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    found = await anonymous.get("/.well-known/openid-configuration")
    assert found.status_code == 200
    document = found.json()
    issuer = resources.settings.issuer
    endpoints = {name: value.removeprefix(issuer) for name, value in document.items() if name.endswith("_endpoint")}
    assert endpoints == {"token_endpoint": TOKEN, "revocation_endpoint": REVOKE}
    assert document["token_endpoint_auth_methods_supported"] == ["none"]
    assert document["revocation_endpoint_auth_methods_supported"] == ["none"]
    assert document["response_types_supported"] == [], "without an authorization endpoint"
    jwks = await anonymous.get(urlsplit(document["jwks_uri"]).path)
    assert jwks.status_code == 200
    assert {key["alg"] for key in jwks.json()["keys"]} == set(document["id_token_signing_alg_values_supported"])
    secrets = {"username": user.email, "password": PASSWORD}
    for grant_type in document["grant_types_supported"]:
        reply = await granted(anonymous, grant_type=grant_type, **secrets)
        assert set(reply["scope"].split()) <= set(document["scopes_supported"])
        claims = jwt.decode(reply["access_token"], options={"verify_signature": False})
        assert set(claims) == set(document["claims_supported"])
        assert claims["iss"] == document["issuer"] == issuer
        secrets = {"refresh_token": reply["refresh_token"]}
    assert document["grant_types_supported"] == ["password", "refresh_token"]
