"""What is counted about signing in, refreshing and sessions that are over: each once, under its own name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx

from integration.conftest import Person
from integration.form import enter
from integration.sql import run_sql
from slipway.resources import Resources
from slipway.telemetry.registry import REGISTRY

NAMES = (
    "slipway_refreshes_total",
    "slipway_logins_total",
    "slipway_login_throttled_total",
    "slipway_session_rejections_total",
)


def counted() -> dict[str, float]:
    """By name and label."""
    return {
        f"{sample.name.removeprefix('slipway_').removesuffix('_total')} {' '.join(sample.labels.values())}".strip(): (
            sample.value
        )
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name in NAMES
    }


@contextmanager
def counting(expected: dict[str, int]) -> Iterator[None]:
    before = counted()
    yield
    assert {name: more for name, now in counted().items() if (more := now - before.get(name, 0))} == expected


async def show(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def test_each_end_of_a_refresh_is_counted(anonymous: httpx.AsyncClient, user: Person) -> None:
    first = (await enter(anonymous, user.email)).json()["refresh_token"]
    with counting({"refreshes rotated": 1}):
        second = (await show(anonymous, first)).json()["refresh_token"]
    with counting({"refreshes repeated": 1}):
        await show(anonymous, first)
    with counting({"refreshes rotated": 1, "refreshes reused": 1}):
        await show(anonymous, second)
        await show(anonymous, first)
    with counting({"refreshes refused": 2}):
        await show(anonymous, second)
        await show(anonymous, "unknown")


async def test_each_end_of_a_sign_in_is_counted(anonymous: httpx.AsyncClient, user: Person) -> None:
    with counting({"logins accepted": 1}):
        await enter(anonymous, user.email)
    with counting({"logins refused": 5, "login_throttled account": 2}):
        statuses = [(await enter(anonymous, user.email, "wrong")).status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2


async def test_an_address_that_has_to_wait_is_counted_as_one(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    await enter(anonymous, user.email, "wrong")
    await run_sql(resources, "UPDATE login_attempts SET blocked_until = now() + interval '1 minute'")
    with counting({"login_throttled address": 1}):
        assert (await enter(anonymous, "somebody-else@example.com")).status_code == 429


async def test_a_valid_token_of_a_session_that_is_over_is_counted(user: Person, resources: Resources) -> None:
    await run_sql(resources, "UPDATE sessions SET revoked_at = now()")
    resources.principals.forget_user(UUID(user.id))
    with counting({"session_rejections": 1}):
        assert (await user.client.get("/api/v1/users/me")).status_code == 401
