"""What ends sessions: being switched off, ending all of them, and their longest lifetime. Nothing old lives again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from integration.conftest import PASSWORD, Person, SignIn
from integration.form import enter
from integration.sql import run_sql
from servers.waiting import until
from slipway.resources import Resources
from slipway.sessions import queries
from slipway.sessions.service import new_reset_link
from slipway.settings import Settings
from slipway.users import service

SESSIONS = "/api/v1/auth/sessions"
DAY = 86400


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody holds who signed in; `works` says for each whether it is still taken."""

    access: str
    refresh: str
    reset: str
    anonymous: httpx.AsyncClient

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    async def works(self) -> dict[str, bool]:
        me = await self.anonymous.get("/api/v1/users/me", headers=self.headers)
        refreshed = await show(self.anonymous, self.refresh)
        body = {"token": self.reset, "new_password": PASSWORD}
        reset = await self.anonymous.post("/api/v1/auth/password-reset/confirm", json=body)
        return {"access": me.is_success, "refresh": refreshed.is_success, "reset": reset.is_success}


NOTHING = {"access": False, "refresh": False, "reset": False}


async def show(client: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await client.post("/api/v1/auth/refresh", json={"refresh_token": refresh_token})


async def hold(anonymous: httpx.AsyncClient, resources: Resources, person: Person) -> Held:
    signed_in = (await enter(anonymous, person.email)).json()
    link = await new_reset_link(resources.database, resources.settings, person.email)
    assert link is not None
    reset = link.link.partition("token=")[2].partition("#")[0]
    return Held(signed_in["access_token"], signed_in["refresh_token"], reset, anonymous)


@pytest.fixture
async def held(anonymous: httpx.AsyncClient, resources: Resources, user: Person) -> Held:
    return await hold(anonymous, resources, user)


async def switch(admin: Person, user: Person, *, on: bool) -> None:
    reply = await admin.client.patch(f"/api/v1/users/{user.id}", json={"is_active": on})
    assert reply.status_code == 200, reply.text


async def test_what_was_held_works_until_then(held: Held) -> None:
    assert await held.works() == {"access": True, "refresh": True, "reset": True}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_nothing_held_before_works_again_after_a_user_was_switched_off_and_on(
    admin: Person, user: Person, held: Held, method: str
) -> None:
    rest = {"email": user.email, "display_name": ""} if method == "PUT" else {}
    for on in (False, True):
        body = {**rest, "is_active": on}
        assert (await admin.client.request(method, f"/api/v1/users/{user.id}", json=body)).status_code == 200
        assert await held.works() == NOTHING
    assert (await enter(held.anonymous, user.email)).status_code == 200


async def test_nor_when_a_release_that_ends_no_sessions_switched_them_off(
    admin: Person, user: Person, held: Held, resources: Resources
) -> None:
    await run_sql(resources, "UPDATE users SET is_active = false WHERE id = :id", id=UUID(user.id))
    await switch(admin, user, on=True)
    assert await held.works() == NOTHING
    assert await reasons(resources) == ["user_switched_off"]


async def test_without_following_the_switch_all_of_it_would_live_again(
    admin: Person, user: Person, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: object, __: object, changed: service.Changed) -> service.Changed:
        return changed

    monkeypatch.setattr(service, "follow_switch", nothing)
    for on in (False, True):
        await switch(admin, user, on=on)
    assert await held.works() == {"access": True, "refresh": True, "reset": True}


async def test_other_changes_of_a_user_end_nothing(admin: Person, user: Person, held: Held) -> None:
    await switch(admin, user, on=True)
    await admin.client.patch(f"/api/v1/users/{user.id}", json={"display_name": "Ada"})
    await admin.client.put(f"/api/v1/users/{user.id}/permissions", json={"permissions": ["items:read"]})
    assert await held.works() == {"access": True, "refresh": True, "reset": True}


class Paused:
    """A step that stops within its transaction until `go_on`."""

    def __init__(self, step: Callable[..., Awaitable[Any]]) -> None:
        self._step = step
        self.reached = asyncio.Event()
        self._free = asyncio.Event()

    async def __call__(self, *arguments: object, **named: object) -> Any:
        done = await self._step(*arguments, **named)
        self.reached.set()
        await self._free.wait()
        return done

    def go_on(self) -> None:
        self._free.set()


async def waits_for_a_lock(resources: Resources) -> bool:
    look = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool((await run_sql(resources, look))[0][0])


async def test_a_refresh_that_meets_the_switch_waits_for_it_and_is_refused(
    admin: Person, user: Person, held: Held, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = Paused(service.follow_switch)
    monkeypatch.setattr(service, "follow_switch", paused)
    switching = asyncio.create_task(switch(admin, user, on=False))
    await paused.reached.wait()
    refreshing = asyncio.create_task(show(held.anonymous, held.refresh))
    await until(lambda: waits_for_a_lock(resources))
    paused.go_on()
    await switching
    assert (await refreshing).status_code == 401


async def test_what_a_refresh_gives_while_the_switch_waits_for_it_is_over_with_the_switch(
    admin: Person, user: Person, held: Held, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = Paused(queries.extend_session)
    monkeypatch.setattr(queries, "extend_session", paused)
    refreshing = asyncio.create_task(show(held.anonymous, held.refresh))
    await paused.reached.wait()
    switching = asyncio.create_task(switch(admin, user, on=False))
    await until(lambda: waits_for_a_lock(resources))
    paused.go_on()
    await switching
    fresh = (await refreshing).json()
    await switch(admin, user, on=True)
    assert await Held(fresh["access_token"], fresh["refresh_token"], held.reset, held.anonymous).works() == NOTHING


# All at once


async def listed(person: Person) -> int:
    return len((await person.client.get(SESSIONS)).json()["items"])


async def reasons(resources: Resources) -> list[str]:
    rows = await run_sql(resources, "SELECT DISTINCT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL")
    return [row[0] for row in rows]


async def test_all_of_ones_own_sessions_end_with_the_present_one(
    user: Person, held: Held, resources: Resources
) -> None:
    reply = await user.client.delete(SESSIONS)
    assert (reply.status_code, reply.content) == (204, b"")
    assert (await user.client.get("/api/v1/users/me")).status_code == 401
    assert await reasons(resources) == ["signed_out"]
    assert (await held.works()) == {"access": False, "refresh": False, "reset": True}


async def test_the_present_session_is_kept_when_asked_for(user: Person, held: Held) -> None:
    assert (await user.client.delete(SESSIONS, params={"keep_current": True})).status_code == 204
    assert await listed(user) == 1
    assert not (await held.works())["access"]


async def test_an_administrator_ends_all_sessions_of_a_user_and_none_of_their_own(
    admin: Person, user: Person, held: Held, resources: Resources
) -> None:
    assert (await admin.client.delete(SESSIONS, params={"user_id": user.id})).status_code == 204
    assert not (await held.works())["access"]
    assert (await user.client.get("/api/v1/users/me")).status_code == 401
    assert await listed(admin) == 1
    assert await reasons(resources) == ["ended_by_administrator"]


async def test_a_stranger_ends_nobodys_sessions_and_learns_nothing(
    admin: Person, user: Person, held: Held, sign_in: SignIn
) -> None:
    stranger = await sign_in("items:read", "items:write")
    replies = [
        await person.client.delete(SESSIONS, params={"user_id": whose})
        for person, whose in ((stranger, user.id), (stranger, str(uuid4())), (admin, str(uuid4())))
    ]
    told = [reply.json() for reply in replies]
    assert {(body.pop("request_id") and body["status"], body["message"]) for body in told} == {
        (404, "There is no such user.")
    }
    assert (await held.works())["access"]


async def test_a_sign_in_under_way_ends_before_all_sessions_do(
    user: Person, anonymous: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = Paused(queries.add_session)
    monkeypatch.setattr(queries, "add_session", paused)
    entering = asyncio.create_task(enter(anonymous, user.email))
    await paused.reached.wait()
    ending = asyncio.create_task(user.client.delete(SESSIONS))
    await until(lambda: waits_for_a_lock(resources))
    paused.go_on()
    assert (await ending).status_code == 204
    access = (await entering).json()["access_token"]
    me = await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {access}"})
    assert me.status_code == 401


# The longest lifetime


async def age(resources: Resources, seconds: float) -> None:
    """Every session was begun so long ago, and used just now, by a release that knew no longest lifetime."""
    await run_sql(
        resources,
        "UPDATE sessions SET created_at = now() - make_interval(secs => :age), expires_at = now() + interval '30 days'",
        age=seconds,
    )


async def test_a_session_that_is_used_ends_with_its_longest_lifetime(
    user: Person, held: Held, resources: Resources
) -> None:
    await age(resources, 90 * DAY - 3600)
    assert (await user.client.get("/api/v1/users/me")).status_code == 200
    shown = (await user.client.get(SESSIONS)).json()["items"][0]
    left = await run_sql(
        resources, "SELECT extract(epoch FROM CAST(:at AS text)::timestamptz - now())", at=shown["expires_at"]
    )
    assert 3500 < left[0][0] <= 3600
    await age(resources, 90 * DAY + 1)
    resources.principals.forget_user(UUID(user.id))
    assert (await user.client.get("/api/v1/users/me")).status_code == 401
    assert await held.works() == {"access": False, "refresh": False, "reset": True}


async def test_sessions_past_their_longest_lifetime_are_neither_listed_nor_ended_again(
    admin: Person, user: Person, resources: Resources
) -> None:
    [shown] = (await user.client.get(SESSIONS)).json()["items"]
    await run_sql(
        resources, "UPDATE sessions SET created_at = 'epoch' WHERE user_id = CAST(:id AS text)::uuid", id=user.id
    )
    listing = await admin.client.get(SESSIONS, params={"user_id": user.id, "per_page": 1})
    assert (listing.json()["items"], listing.json()["total"]) == ([], 0)
    assert (await admin.client.delete(f"{SESSIONS}/{shown['id']}")).status_code == 404


def lifetime_of(token: str) -> int:
    claims = jwt.decode(token, options={"verify_signature": False})
    return int(claims["exp"]) - int(claims["iat"])


async def test_neither_an_access_token_nor_the_session_outlasts_the_longest_lifetime(
    held: Held, resources: Resources
) -> None:
    await age(resources, 90 * DAY - 300)
    for _ in ("refreshed", "the same reply again"):
        reply = (await show(held.anonymous, held.refresh)).json()
        assert 280 < reply["expires_in"] <= 300
        assert lifetime_of(reply["access_token"]) == reply["expires_in"]
    used = "last_used_at > created_at + interval '1 day'"
    statement = f"SELECT extract(epoch FROM expires_at - created_at) FROM sessions WHERE {used}"  # noqa: S608 - ours
    assert (90 * DAY,) in await run_sql(resources, statement)


class TestShort:
    @pytest.fixture
    def app_settings(self, app_settings: Settings) -> Settings:
        return app_settings.with_changes(session_max_lifetime=1000, access_token_ttl=900)

    async def test_a_new_session_ends_with_what_comes_first(
        self, user: Person, anonymous: httpx.AsyncClient, resources: Resources
    ) -> None:
        reply = (await enter(anonymous, user.email)).json()
        assert (reply["expires_in"], lifetime_of(reply["access_token"])) == (900, 900)
        lives = await run_sql(resources, "SELECT DISTINCT extract(epoch FROM expires_at - created_at) FROM sessions")
        assert lives == [(1000,)]
