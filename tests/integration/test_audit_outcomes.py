"""What comes of passwords and tokens is told in the audit log; what changed nothing, and what was typed, isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from integration.conftest import Person
from integration.domains.audited import AUTH, MARK, PASSED, Stage, leaks, session_in, session_of, told
from integration.mailing import post_office
from integration.sql import run_sql
from slipway.resources import Resources

ITEM = {"title": f"{MARK} title", "body": f"{MARK} body"}


@pytest.fixture
async def stage(resources: Resources, anonymous: httpx.AsyncClient, admin: Person) -> AsyncIterator[Stage]:
    async with post_office(resources) as post:
        yield Stage(resources, anonymous, post, admin)


async def test_what_comes_of_passwords_and_refresh_tokens_is_told_and_what_changed_nothing_is_not(stage: Stage) -> None:
    user, off = await stage.person(), await stage.person()
    await stage.send("PATCH", f"/api/v1/users/{off.id}", stage.admin, json={"is_active": False})
    first = await stage.tokens(user.email)
    session = session_in(first["access_token"])

    async def rows(path: str, who: Person | None = None, **body: object) -> list[tuple[object, ...]]:
        reply = await stage.send("POST", f"{AUTH}/{path}", who, **body)
        return [row[:4] for row in await told(stage.resources, reply.headers["X-Request-ID"])]

    async def typed(email: str, password: str) -> list[tuple[object, ...]]:
        return await rows("token", data={"username": email, "password": password})

    guess = ("sessions.guess", None, None, None)
    assert await typed(user.email, f"{MARK} is wrong") == [guess, ("sessions.refuse", None, user.id, None)]
    assert await typed(f"{MARK}-nobody@example.com", PASSED) == [guess, ("sessions.refuse", None, None, None)]
    assert await typed(off.email, PASSED) == [guess, ("sessions.refuse", None, off.id, None)]
    wish = {"current_password": f"{MARK} is wrong", "new_password": f"{MARK} is a new password"}
    assert await rows("password", user, json=wish) == [("sessions.guess", None, user.id, session_of(user))]

    used = {"json": {"refresh_token": first["refresh_token"]}}
    refreshed = (f"sessions/{session}", user.id, session)
    assert await rows("refresh", **used) == [("sessions.refresh", *refreshed)]
    assert await rows("refresh", **used) == []  # within the grace: the same tokens again
    await run_sql(stage.resources, "UPDATE refresh_tokens SET used_at = used_at - interval '1 hour'")
    assert await rows("refresh", **used) == [("sessions.end_reused", *refreshed)]
    assert await rows("refresh", **used) == []
    assert await rows("refresh", json={"refresh_token": MARK}) == []
    assert await rows("revoke", data={"token": MARK}) == []
    assert await leaks(stage.resources, [MARK, *stage.secrets]) == []


async def test_a_sign_in_that_is_put_off_is_not_told(stage: Stage) -> None:
    """It changes nothing, and a flood of them must not fill the table."""
    statuses = []
    while 429 not in statuses:
        form = {"username": f"{MARK}@example.net", "password": MARK}
        reply = await stage.send("POST", f"{AUTH}/token", data=form)
        statuses.append(reply.status_code)
    assert len(await told(stage.resources, reply.headers["X-Request-ID"])) == 0
    assert set(statuses[:-1]) == {401}


async def test_an_id_of_a_request_that_is_not_sane_is_not_there_either(stage: Stage) -> None:
    user = await stage.person()
    for request_id in (f"{MARK} or not", f"{MARK}'--", MARK * 20):
        reply = await user.client.post("/api/v1/items", json=ITEM, headers={"X-Request-ID": request_id})
        own = reply.headers["X-Request-ID"]
        assert MARK not in own
        assert [row[0] for row in await told(stage.resources, own)] == ["items.create"]
        assert await run_sql(stage.resources, "SELECT 1 FROM audit WHERE request_id = :id", id=request_id) == []


async def test_paths_that_lead_nowhere_leave_nothing(stage: Stage) -> None:
    user = await stage.person()
    for method, path in (("POST", f"/{MARK}"), ("DELETE", f"/api/v1/items/{MARK}"), ("PUT", f"/api/v1/users/{MARK}")):
        reply = await stage.send(method, path, user, json={"title": MARK})
        assert reply.is_client_error
        assert await told(stage.resources, reply.headers["X-Request-ID"]) == []


async def test_what_administrators_read_and_export_holds_no_mark_but_in_ids_of_requests(stage: Stage) -> None:
    user = await stage.person()
    await stage.send("POST", "/api/v1/items", user, json=ITEM)
    page = (await stage.admin.client.get("/api/v1/audit", params={"per_page": 100})).json()
    assert {entry.pop("request_id")[: len(MARK)] for entry in page["items"][:3]} == {MARK}
    assert MARK not in str([{**entry, "request_id": None} for entry in page["items"]])
