"""A guess that proved right is given back at once, whatever becomes of its request; a wrong one never is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from integration.conftest import PASSWORD, Person, SignIn
from integration.form import enter
from integration.sql import run_sql
from servers.waiting import until
from slipway.http.problems import UnavailableError
from slipway.resources import Resources
from slipway.sessions import proof, queries
from slipway.sessions.throttle import LoginThrottle
from slipway.users import service as users

FREE = 5
NEW = "another good password"


async def change_password(person: Person, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await person.client.post("/api/v1/auth/password", json=body)


async def change_address(person: Person, email: str = "new@example.com", **headers: str) -> httpx.Response:
    body = {"email": email, "current_password": PASSWORD}
    return await person.client.patch(f"/api/v1/users/{person.id}", json=body, headers=headers)


async def failures(resources: Resources) -> int:
    [[counted]] = await run_sql(resources, "SELECT coalesce(sum(failures), 0) FROM login_attempts")
    return int(counted)


async def test_a_new_password_that_is_too_short_costs_no_guess(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    replies = [await change_password(user, new="short") for _ in range(FREE + 1)]
    assert {(reply.status_code, reply.json()["details"][0]["location"]) for reply in replies} == {
        (422, "body.new_password")
    }
    assert await failures(resources) == 0
    assert (await enter(anonymous, user.email)).status_code == 200


async def test_an_etag_that_does_not_match_costs_no_guess(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    statuses = [(await change_address(user, **{"If-Match": '"77"'})).status_code for _ in range(FREE + 1)]
    assert statuses == [412] * (FREE + 1)
    assert await failures(resources) == 0
    assert (await enter(anonymous, user.email)).status_code == 200


async def test_a_change_that_only_administrators_may_make_costs_no_guess(user: Person, resources: Resources) -> None:
    body = {"email": "new@example.com", "current_password": PASSWORD, "is_active": False}
    replies = [await user.client.patch(f"/api/v1/users/{user.id}", json=body) for _ in range(FREE + 1)]
    assert {reply.status_code for reply in replies} == {403}
    assert await failures(resources) == 0


async def away(*_: object, **__: object) -> Any:
    raise ConnectionError


async def full(*_: object, **__: object) -> str:
    raise UnavailableError


Break = Callable[[pytest.MonkeyPatch, Resources], None]
BROKEN: dict[str, Break] = {
    "no place to hash the new password": lambda patch, resources: patch.setattr(resources.passwords, "hash", full),
    "the database is lost at the write": lambda patch, _: patch.setattr(queries, "set_password", away),
    "another change came between": lambda patch, _: patch.setattr(queries, "set_password", _never),
}


async def _never(*_: object, **__: object) -> bool:
    return False


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_change_of_password_that_fails_after_the_proof_costs_no_guess(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    BROKEN[broken](monkeypatch, resources)
    statuses = {(await change_password(user)).status_code for _ in range(FREE + 1)}
    assert statuses <= {503, 409}
    assert await failures(resources) == 0


async def test_a_change_of_address_that_is_lost_at_the_write_costs_no_guess(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users.queries, "get_for_update", away)
    assert {(await change_address(user)).status_code for _ in range(FREE + 1)} == {503}
    assert await failures(resources) == 0


async def test_a_sign_in_that_is_lost_after_the_proof_costs_no_guess(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(queries, "add_session", away)
        assert {(await enter(anonymous, user.email)).status_code for _ in range(FREE + 1)} == {503}
    assert await failures(resources) == 0
    assert (await enter(anonymous, user.email)).status_code == 200


async def test_without_giving_back_at_once_right_passwords_would_lock_their_owner_out(
    anonymous: httpx.AsyncClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(*_: object) -> None:
        return

    monkeypatch.setattr(LoginThrottle, "succeed", keep)
    for _ in range(FREE):
        assert (await change_address(user, **{"If-Match": '"77"'})).status_code == 412
    assert (await enter(anonymous, user.email)).status_code == 429


async def test_a_wrong_password_stays_counted_whatever_else_is_wrong(user: Person, resources: Resources) -> None:
    body = {"email": "new@example.com", "current_password": "a guess"}
    path, stale = f"/api/v1/users/{user.id}", {"If-Match": '"77"'}
    statuses = [(await user.client.patch(path, json=body, headers=stale)).status_code for _ in range(FREE + 1)]
    assert statuses == [422] * FREE + [429]
    assert await failures(resources) == 2 * FREE, "of the account and of the network address"


async def test_a_right_password_gives_back_no_failures_of_its_address(
    user: Person, sign_in: SignIn, anonymous: httpx.AsyncClient, resources: Resources
) -> None:
    other = await sign_in()
    for _ in range(3):
        await enter(anonymous, other.email, "wrong")
    before = await failures(resources)
    replies = await asyncio.gather(*(change_address(user, **{"If-Match": '"77"'}) for _ in range(4)))
    assert {reply.status_code for reply in replies} == {412}
    assert await failures(resources) == before == 6


async def test_a_switched_off_accounts_right_password_is_told_from_a_wrong_one_by_nothing(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    await run_sql(resources, "UPDATE users SET is_active = false")
    right = [(await enter(anonymous, user.email)).status_code for _ in range(FREE + 1)]
    await run_sql(resources, "DELETE FROM login_attempts")
    assert [(await enter(anonymous, user.email, "wrong")).status_code for _ in range(FREE + 1)] == right
    assert right == [401] * FREE + [429]


async def test_who_is_switched_on_again_signs_in_at_once_however_often_they_tried_meanwhile(
    anonymous: httpx.AsyncClient, user: Person, admin: Person
) -> None:
    path = f"/api/v1/users/{user.id}"
    assert (await admin.client.patch(path, json={"is_active": False})).status_code == 200
    assert [(await enter(anonymous, user.email)).status_code for _ in range(FREE + 1)] == [401] * FREE + [429]
    assert (await admin.client.patch(path, json={"is_active": True})).status_code == 200
    assert (await enter(anonymous, user.email)).status_code == 200


@dataclass(frozen=True)
class Held:
    """Comparisons wait, in their threads, for `go_on`; `begun` has an entry for each that a thread has begun."""

    go_on: threading.Event = field(default_factory=threading.Event)
    begun: list[None] = field(default_factory=list)


@pytest.fixture
def held(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    compare = resources.passwords._verify  # noqa: SLF001 - held back, not changed

    def wait_and_compare(prepared: bytes, stored: str | None) -> Any:
        held.begun.append(None)
        assert held.go_on.wait(20)
        return compare(prepared, stored)

    monkeypatch.setattr(resources.passwords, "_verify", wait_and_compare)
    return held


async def left_by_their_clients(resources: Resources, email: str, passwords: list[str], held: Held) -> None:
    """Guesses whose requests are cancelled while they are being looked at, or wait for that."""

    async def guess(password: str) -> None:
        account = await queries.account_by_email(resources.database, email)
        assert account is not None
        reservation = await resources.throttle.reserve(str(account.id), "192.0.2.7")
        await proof.compare(resources, reservation, password, account)

    tasks = [asyncio.create_task(guess(password)) for password in passwords]
    at_work = min(len(passwords), resources.settings.password_workers)
    await until(lambda: len(held.begun) == at_work and resources.passwords.waiting == len(passwords))
    for task in tasks:
        task.cancel()
    assert await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)


async def settled() -> None:
    while proof._settling:  # noqa: SLF001 - what goes on without its request
        await asyncio.wait(set(proof._settling))  # noqa: SLF001


async def test_a_right_password_whose_client_left_while_it_was_looked_at_costs_no_guess(
    user: Person, resources: Resources, held: Held
) -> None:
    await left_by_their_clients(resources, user.email, [PASSWORD], held)
    assert await failures(resources) == 2
    held.go_on.set()
    await settled()
    assert await failures(resources) == 0


async def test_a_wrong_password_whose_client_left_stays_counted_once_somebody_looked_at_it(
    user: Person, resources: Resources, held: Held
) -> None:
    looked_at, waiting = resources.settings.password_workers, 2
    await left_by_their_clients(resources, user.email, ["wrong"] * (looked_at + waiting), held)
    held.go_on.set()
    await settled()
    assert await failures(resources) == 2 * looked_at, "those that nobody looked at were no guesses"
