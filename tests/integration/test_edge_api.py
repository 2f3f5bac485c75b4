"""The edge around the real API: who asks, what is allowed, what a fault of the database means."""

from __future__ import annotations

import httpx
import pytest

from integration.conftest import Person
from integration.sql import run_sql
from slipway.edge import faults
from slipway.resources import Resources
from slipway.telemetry.registry import REGISTRY

ME = "/api/v1/users/me"


def _rejections() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "slipway_token_rejections_total"
    )


async def test_a_wrong_token_is_counted_once(anonymous: httpx.AsyncClient) -> None:
    before = _rejections()
    assert (await anonymous.get(ME, headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert _rejections() == before + 1


async def test_only_the_first_authorization_header_is_looked_at(anonymous: httpx.AsyncClient, user: Person) -> None:
    bearer = ("Authorization", user.client.headers["authorization"])
    basic = ("Authorization", "Basic YTpi")
    assert (await anonymous.get(ME, headers=[bearer, basic])).status_code == 200
    assert (await anonymous.get(ME, headers=[basic, bearer])).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/items", "GET, POST"),
        ("HEAD", "/api/v1/items", "GET, POST"),
        ("POST", "/api/v1/items/01980d5e-2c5b-7f20-8000-000000000000", "DELETE, GET, PATCH, PUT"),
        ("POST", "/health", "GET"),
    ],
)
async def test_a_405_names_every_method_of_the_address(
    anonymous: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    reply = await anonymous.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)


async def _write_as_a_deleted_user(user: Person, resources: Resources) -> httpx.Response:
    """What this process believes for a moment: a user that another process has deleted."""
    assert (await user.client.get(ME)).status_code == 200
    await run_sql(resources, "DELETE FROM users WHERE id = :id", id=user.id)
    return await user.client.post("/api/v1/items", json={"title": "too late"})


async def test_a_row_for_a_user_who_was_just_deleted_is_their_sessions_end(user: Person, resources: Resources) -> None:
    reply = await _write_as_a_deleted_user(user, resources)
    assert (reply.status_code, reply.json()["message"]) == (401, "This session has ended: sign in again.")
    assert reply.headers["www-authenticate"] == 'Bearer realm="slipway", error="invalid_token"'


async def test_without_looking_at_the_constraint_it_would_be_500(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_constraint", lambda _: "")
    assert (await _write_as_a_deleted_user(user, resources)).status_code == 500
