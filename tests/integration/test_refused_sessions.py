"""Whoever goes on with a token of an ended session pays with their address's rate limit, not with the user's."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest

from integration.conftest import Person, SignIn, enter
from integration.sql import run_sql
from servers.asgi import Call
from servers.waiting import until
from slipway.auth.principals import Principals
from slipway.auth.tokens import TOKEN_TYPE
from slipway.edge.guard import Guard
from slipway.resources import Resources
from slipway.settings import Settings

ME = "/api/v1/users/me"
LIMIT = 50
USES = 8


@pytest.fixture
def app_settings(app_settings: Settings) -> Settings:
    # A row is read each time, so that what another process did counts at once.
    return app_settings.with_changes(rate_limit=LIMIT, session_max_age=0)


def _left(resources: Resources, key: str) -> int:
    """What is left of a budget, seen by taking one."""
    decision = resources.limiter.try_acquire(key)
    assert decision is not None
    return decision.remaining + 1


def _told(reply: httpx.Response) -> int:
    found = re.search(r"r=(\d+)", reply.headers["RateLimit"])
    assert found is not None
    return int(found[1])


def _session(person: Person) -> dict[str, Any]:
    token = person.client.headers["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


ENDINGS = {
    "revoked": "UPDATE sessions SET revoked_at = now() WHERE id = :session",
    "expired": "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = :session",
    "as old as a session gets": "UPDATE sessions SET created_at = now() - interval '1000 days' WHERE id = :session",
    "purged": "DELETE FROM sessions WHERE id = :session",
    "of a user who is switched off": "UPDATE users SET is_active = false FROM sessions "
    "WHERE users.id = user_id AND sessions.id = :session",
    "of a user who is gone": "DELETE FROM users USING sessions WHERE users.id = user_id AND sessions.id = :session",
}


async def _use_on(person: Person) -> list[httpx.Response]:
    replies = [await person.client.get(ME) for _ in range(USES)]
    assert {reply.status_code for reply in replies} == {401}
    return replies


@pytest.mark.parametrize("ended", ENDINGS)
async def test_a_token_of_an_ended_session_costs_its_user_nothing(
    user: Person, resources: Resources, ended: str
) -> None:
    assert (await user.client.get(ME)).status_code == 200
    before = _left(resources, f"u:{user.id}") - 1
    await run_sql(resources, ENDINGS[ended], session=_session(user)["sid"])
    replies = await _use_on(user)
    assert _left(resources, f"u:{user.id}") == before
    # What the replies tell is the address's: sign-ins were counted there as well.
    left = [_told(reply) for reply in replies]
    assert left == list(range(left[0], left[0] - USES, -1))


async def test_without_the_guard_the_user_would_pay(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return

    monkeypatch.setattr(Principals, "has_ended", lambda *_: False)
    monkeypatch.setattr(Guard, "_count_by_address", nothing)
    before = _left(resources, f"u:{user.id}") - 1
    await run_sql(resources, ENDINGS["revoked"], session=_session(user)["sid"])
    await _use_on(user)
    assert _left(resources, f"u:{user.id}") == before - USES


async def test_the_users_other_sessions_work_on_while_a_stolen_token_is_over_the_limit(
    user: Person, anonymous: httpx.AsyncClient
) -> None:
    other = await enter(anonymous, user.id, user.email)
    assert (await user.client.post("/api/v1/auth/logout")).status_code == 204
    replies = [await user.client.get(ME) for _ in range(LIMIT)]
    assert {reply.status_code for reply in replies} == {401, 429}
    assert replies[-1].headers["Retry-After"]
    mine = await other.client.get(ME)
    assert (mine.status_code, _told(mine)) == (200, LIMIT - 2)


@pytest.mark.parametrize("change", [{"aud": "others"}, {"iss": "https://other.example"}, {"exp": 1}, {"typ": "JWT"}])
async def test_a_token_that_is_not_for_us_or_over_costs_its_user_nothing(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources, change: dict[str, Any]
) -> None:
    key = resources.keys.current.signing
    header = {"kid": key.id, "typ": change.pop("typ", TOKEN_TYPE)}
    token = jwt.encode(_session(user) | change, key.private, key.algorithm, header)
    before = _left(resources, f"u:{user.id}") - 1
    for _ in range(USES):
        assert (await anonymous.get(ME, headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert _left(resources, f"u:{user.id}") == before


async def test_a_token_that_names_another_users_session_costs_neither_anything(
    user: Person, admin: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    token = resources.tokens.issue(UUID(user.id), UUID(_session(admin)["sid"]), ["items:read"])
    before = [_left(resources, f"u:{person.id}") - 1 for person in (user, admin)]
    for _ in range(USES):
        assert (await anonymous.get(ME, headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert [_left(resources, f"u:{person.id}") for person in (user, admin)] == before


def _without_its_body(user: Person, anonymous: httpx.AsyncClient) -> Call:
    headers = {"Authorization": user.client.headers["Authorization"], "Content-Length": "100"}
    app = anonymous._transport.app  # type: ignore[attr-defined]  # noqa: SLF001 - what is served
    call = Call(app, "POST", "/api/v1/items", headers)
    call._receive = _never  # type: ignore[method-assign]  # noqa: SLF001 - the body doesn't come
    return call.start()


async def _cost_of_bodies_that_do_not_come(user: Person, anonymous: httpx.AsyncClient, resources: Resources) -> int:
    session = UUID(_session(user)["sid"])
    before = _left(resources, f"u:{user.id}") - 1
    await run_sql(resources, ENDINGS["revoked"], session=session)
    resources.principals.forget([session])
    hanging = [_without_its_body(user, anonymous)]
    await asyncio.sleep(0)
    await until(lambda: not resources.principals._flights)  # noqa: SLF001 - nothing else tells that the answer is there
    hanging += [_without_its_body(user, anonymous) for _ in range(USES)]
    await asyncio.sleep(0)
    cost = before - _left(resources, f"u:{user.id}")
    tasks = [call.task for call in hanging if call.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return cost


async def test_requests_that_never_get_as_far_as_being_refused_cost_the_user_no_more_than_the_first(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    assert await _cost_of_bodies_that_do_not_come(user, anonymous, resources) == 1


async def test_if_only_refusals_told_each_of_them_would_cost(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Principals, "has_ended", lambda *_: False)
    assert await _cost_of_bodies_that_do_not_come(user, anonymous, resources) == 1 + USES


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_session_that_lives_again_is_counted_as_its_users_again(user: Person, resources: Resources) -> None:
    session = _session(user)["sid"]
    await run_sql(resources, ENDINGS["revoked"], session=session)
    await _use_on(user)
    await run_sql(resources, "UPDATE sessions SET revoked_at = NULL WHERE id = :session", session=session)
    assert (await user.client.get(ME)).status_code == 200
    before = _left(resources, f"u:{user.id}") - 1
    assert (await user.client.get(ME)).status_code == 200
    assert _left(resources, f"u:{user.id}") == before - 1


async def test_whether_a_session_has_ended_is_asked_no_more_than_once_a_second(
    sign_in: SignIn, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await sign_in()
    session, owner = UUID(_session(person)["sid"]), UUID(person.id)
    asked: list[object] = []
    read = resources.database.fetch_row

    async def counted(query: str, *arguments: object) -> Any:
        asked.append(query)
        return await read(query, *arguments)

    monkeypatch.setattr(resources.database, "fetch_row", counted)
    resources.principals.forget([session])
    assert not any(resources.principals.has_ended(session, owner) for _ in range(20))
    await until(lambda: not resources.principals._flights)  # noqa: SLF001 - nothing else tells that the answer is there
    assert not any(resources.principals.has_ended(session, owner) for _ in range(20))
    assert len(asked) == 1
