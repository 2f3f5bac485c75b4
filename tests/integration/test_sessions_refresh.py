"""Refresh tokens: used once, one family, and theft ends it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import httpx
import pytest
from sqlalchemy import text, update

from integration.conftest import PASSWORD, Person
from integration.sql import run_sql
from slipway.http.problems import AuthenticationError
from slipway.resources import Resources
from slipway.sessions import queries, refresh
from slipway.sessions.models import RefreshToken
from slipway.sessions.secret_tokens import hash_token
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction


@dataclasses.dataclass(frozen=True)
class Signed:
    access: str
    refresh: str


@pytest.fixture
async def signed(anonymous: httpx.AsyncClient, user: Person) -> Signed:
    """A second session of the user, whose tokens are known."""
    return await signed_in(anonymous, user)


async def signed_in(anonymous: httpx.AsyncClient, user: Person) -> Signed:
    reply = await anonymous.post("/api/v1/auth/token", data={"username": user.email, "password": PASSWORD})
    return Signed(reply.json()["access_token"], reply.json()["refresh_token"])


async def show(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def is_accepted(client: httpx.AsyncClient, access: str) -> bool:
    reply = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {access}"})
    assert reply.status_code in {200, 401}
    return reply.status_code == 200


async def reason_of_end(resources: Resources, signed: Signed) -> str | None:
    rows = await run_sql(
        resources,
        "SELECT revoked_reason FROM sessions s JOIN refresh_tokens t ON t.session_id = s.id WHERE token_hash = :hash",
        hash=hash_token(signed.refresh),
    )
    return rows[0][0]  # type: ignore[no-any-return]


async def unused_tokens(resources: Resources, signed: Signed) -> int:
    rows = await run_sql(
        resources,
        "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND session_id ="
        " (SELECT session_id FROM refresh_tokens WHERE token_hash = :hash)",
        hash=hash_token(signed.refresh),
    )
    return int(rows[0][0])


async def test_a_refresh_gives_new_tokens_of_the_same_session(anonymous: httpx.AsyncClient, signed: Signed) -> None:
    reply = await show(anonymous, signed.refresh)
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json()["refresh_token"] != signed.refresh
    assert await is_accepted(anonymous, reply.json()["access_token"])
    again = await show(anonymous, reply.json()["refresh_token"])
    assert again.status_code == 200


async def test_fifty_refreshes_at_once_get_one_successor_and_the_family_goes_on(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    replies = await asyncio.gather(*(show(anonymous, signed.refresh) for _ in range(50)))
    assert {reply.status_code for reply in replies} == {200}
    successors = {reply.json()["refresh_token"] for reply in replies}
    assert len(successors) == 1
    assert await unused_tokens(resources, signed) == 1
    assert all([await is_accepted(anonymous, reply.json()["access_token"]) for reply in replies[::10]])
    assert (await show(anonymous, successors.pop())).status_code == 200


async def test_without_compare_and_swap_the_family_would_split(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(transaction: Transaction, token_hash: bytes, successor: bytes) -> bool:
        changed = update(RefreshToken).where(RefreshToken.token_hash == token_hash)
        await transaction.row(Statement(changed.values(successor=successor, used_at=text("now()"))))
        return True

    monkeypatch.setattr(queries, "use_refresh_token", always)
    replies = await asyncio.gather(*(show(anonymous, signed.refresh) for _ in range(50)))
    assert len({reply.json()["refresh_token"] for reply in replies}) == 50
    assert await unused_tokens(resources, signed) == 50


async def test_a_lost_reply_can_be_had_again(anonymous: httpx.AsyncClient, signed: Signed) -> None:
    first, second = await show(anonymous, signed.refresh), await show(anonymous, signed.refresh)
    assert first.json()["refresh_token"] == second.json()["refresh_token"]


async def reuse(anonymous: httpx.AsyncClient, signed: Signed) -> tuple[httpx.Response, str]:
    """Use a token, use its successor, and come back with the first; the newest token besides."""
    successor = (await show(anonymous, signed.refresh)).json()["refresh_token"]
    newest = (await show(anonymous, successor)).json()["refresh_token"]
    assert await is_accepted(anonymous, signed.access)
    return await show(anonymous, signed.refresh), newest


async def test_a_reused_token_ends_the_family_although_the_reply_is_401(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    reply, newest = await reuse(anonymous, signed)
    assert reply.status_code == 401
    assert await reason_of_end(resources, signed) == "refresh_token_reused"
    assert (await show(anonymous, newest)).status_code == 401
    assert not await is_accepted(anonymous, signed.access), "at once in this process"


async def test_an_error_raised_inside_the_transaction_would_take_the_revocation_back(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke = queries.revoke_session

    async def revoke_and_raise(*arguments: Any) -> bool:
        await revoke(*arguments)
        raise AuthenticationError

    monkeypatch.setattr(queries, "revoke_session", revoke_and_raise)
    reply, newest = await reuse(anonymous, signed)
    assert reply.status_code == 401
    assert await reason_of_end(resources, signed) is None
    assert (await show(anonymous, newest)).status_code == 200


async def test_reuse_ends_one_session_and_no_other(anonymous: httpx.AsyncClient, signed: Signed, user: Person) -> None:
    await reuse(anonymous, signed)
    assert (await user.client.get("/api/v1/users/me")).status_code == 200


async def test_after_the_grace_a_repeat_is_reuse(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    successor = (await show(anonymous, signed.refresh)).json()["refresh_token"]
    await run_sql(resources, "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'")
    assert (await show(anonymous, signed.refresh)).status_code == 401
    assert await reason_of_end(resources, signed) == "refresh_token_reused"
    assert (await show(anonymous, successor)).status_code == 401


async def test_without_the_grace_ending_a_stolen_token_would_work_for_ever(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await show(anonymous, signed.refresh)
    await run_sql(resources, "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'")
    monkeypatch.setattr(refresh, "within_grace", lambda *_: True)
    assert (await show(anonymous, signed.refresh)).status_code == 200


async def test_a_grace_of_zero_forgives_nothing(signed: Signed, resources: Resources) -> None:
    strict = dataclasses.replace(resources, settings=resources.settings.with_changes(refresh_grace=0))
    await refresh.refresh(strict, signed.refresh)
    with pytest.raises(AuthenticationError):
        await refresh.refresh(strict, signed.refresh)


async def test_an_ended_session_is_not_refreshed(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    begin = "UPDATE sessions SET revoked_at = NULL, expires_at = now() + interval '1 day'"
    for end in (
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE users SET is_active = false",
        "DELETE FROM users",
    ):
        signed = await signed_in(anonymous, user)
        await run_sql(resources, end)
        assert (await show(anonymous, signed.refresh)).status_code == 401, end
        await run_sql(resources, begin)
        await run_sql(resources, "UPDATE users SET is_active = true")


async def test_unknown_and_senseless_tokens_are_refused(anonymous: httpx.AsyncClient) -> None:
    for unknown in ("unknown", "\U0001f600"):
        reply = await show(anonymous, unknown)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
    senseless: list[object] = [{}, {"refresh_token": ""}, {"refresh_token": "x" * 129}, {"refresh_token": 5}, []]
    for body in senseless:
        assert (await anonymous.post("/api/v1/auth/refresh", json=body)).status_code == 422, body


async def test_use_moves_the_end_of_a_session(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    await run_sql(resources, "UPDATE sessions SET expires_at = now() + interval '1 minute'")
    await show(anonymous, signed.refresh)
    days = await run_sql(resources, "SELECT max(extract(day FROM expires_at - now())) FROM sessions")
    assert days[0][0] == 29


async def test_a_refreshed_token_carries_what_the_user_may_do_now(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    await run_sql(resources, "UPDATE users SET permissions = '{items:read}'")
    assert (await show(anonymous, signed.refresh)).json()["scope"] == "items:read"


async def test_the_database_holds_no_token_that_can_be_used(
    anonymous: httpx.AsyncClient, signed: Signed, resources: Resources
) -> None:
    successor = (await show(anonymous, signed.refresh)).json()["refresh_token"]
    rows = str(
        await run_sql(resources, "SELECT encode(token_hash, 'escape'), encode(successor, 'escape') FROM refresh_tokens")
    )
    assert signed.refresh not in rows
    assert successor not in rows
