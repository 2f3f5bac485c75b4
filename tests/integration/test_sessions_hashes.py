"""Hashes that change while somebody signs in: by newer parameters, and by a new password."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from integration.conftest import PASSWORD, Person
from integration.form import enter
from integration.sql import run_sql
from slipway.auth.passwords import PasswordHasher, Verdict
from slipway.resources import Resources
from slipway.sessions import queries, service
from slipway.sessions.models import Session

SET_HASH = "UPDATE users SET password_hash = :hash WHERE id = :id"


async def stored_hash(resources: Resources, user: Person) -> str:
    rows = await run_sql(resources, "SELECT password_hash FROM users WHERE id = :id", id=user.id)
    return str(rows[0][0])


async def test_a_hash_of_old_parameters_is_renewed_at_sign_in(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources
) -> None:
    old = PasswordHasher(resources.settings.with_changes(password_iterations=2))
    await run_sql(resources, SET_HASH, hash=await old.hash(PASSWORD), id=user.id)
    old.close()
    assert ",t=2," in await stored_hash(resources, user)
    assert (await enter(anonymous, user.email)).status_code == 200
    assert ",t=1," in await stored_hash(resources, user)
    assert (await enter(anonymous, user.email)).status_code == 200


SIGN_INS = 4


@pytest.fixture
async def outdated(resources: Resources, user: Person) -> str:
    """The user's hash, made with other parameters than today's."""
    old = PasswordHasher(resources.settings.with_changes(password_iterations=2))
    stored = await old.hash(PASSWORD)
    old.close()
    await run_sql(resources, SET_HASH, hash=stored, id=user.id)
    return stored


@pytest.fixture
def verified_together(resources: Resources, outdated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first comparisons all end at the same moment, so that what follows them meets."""
    del outdated  # its user has signed in before this
    verify = resources.passwords.verify
    together = asyncio.Barrier(SIGN_INS)
    left = SIGN_INS

    async def verify_together(password: str, stored: str | None) -> Verdict:
        nonlocal left
        verdict = await verify(password, stored)
        if left:
            left -= 1
            await together.wait()
        return verdict

    monkeypatch.setattr(resources.passwords, "verify", verify_together)


@pytest.mark.usefixtures("verified_together")
async def test_right_sign_ins_at_once_all_succeed_while_the_hash_is_renewed(
    anonymous: httpx.AsyncClient, user: Person, resources: Resources, outdated: str
) -> None:
    replies = await asyncio.gather(*(enter(anonymous, user.email) for _ in range(SIGN_INS)))
    assert [reply.status_code for reply in replies] == [200] * SIGN_INS
    assert ",t=1," in await stored_hash(resources, user) != outdated


@pytest.mark.usefixtures("verified_together")
async def test_renewing_the_hash_in_the_sign_ins_own_transaction_would_deadlock(
    anonymous: httpx.AsyncClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def add_and_renew(session: AsyncSession, row: Session, token_hash: bytes) -> None:
        await add(session, row, token_hash)
        await together.wait()
        await queries.set_password(session, row.user_id, "renewed", instead_of=None)

    add = queries.add_session
    together = asyncio.Barrier(SIGN_INS)
    monkeypatch.setattr(queries, "add_session", add_and_renew)
    replies = await asyncio.gather(*(enter(anonymous, user.email) for _ in range(SIGN_INS)))
    assert max(reply.status_code for reply in replies) >= 500


@pytest.mark.usefixtures("verified_together")
async def test_without_comparing_again_some_would_be_refused(
    anonymous: httpx.AsyncClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one sign-in renews the hash before the others' transactions begin."""
    monkeypatch.setattr(service, "TRIES", 1)
    lock = queries.lock_verified_account
    renewed = asyncio.Event()
    first = True

    async def lock_after_renewal(session: AsyncSession, account: queries.Account) -> bool:
        nonlocal first
        if first:
            first = False
        else:
            await renewed.wait()
        return await lock(session, account)

    async def renew(*arguments: Any) -> None:
        await store(*arguments)
        renewed.set()

    store = service._renew_hash  # noqa: SLF001 - watched, not changed
    monkeypatch.setattr(service, "_renew_hash", renew)
    monkeypatch.setattr(queries, "lock_verified_account", lock_after_renewal)
    replies = await asyncio.gather(*(enter(anonymous, user.email) for _ in range(SIGN_INS)))
    assert sorted(reply.status_code for reply in replies) == [200, *[401] * (SIGN_INS - 1)]


async def test_a_password_is_changed_although_its_hash_is_renewed_meanwhile(
    user: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_new = resources.passwords.hash

    async def renewed_meanwhile(password: str, *, location: str = "body.password") -> str:
        await run_sql(resources, SET_HASH, hash=await resources.passwords.rehash(PASSWORD), id=user.id)
        return await hash_new(password, location=location)

    monkeypatch.setattr(resources.passwords, "hash", renewed_meanwhile)
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    assert (await user.client.post("/api/v1/auth/password", json=body)).status_code == 204


@pytest.fixture
def changed_meanwhile(resources: Resources, user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's password changes while the old one is being verified."""
    verify = resources.passwords.verify

    async def slow(password: str, stored: str | None) -> Verdict:
        verdict = await verify(password, stored)
        new = await resources.passwords.hash("another password")
        await run_sql(resources, SET_HASH, hash=new, id=user.id)
        return verdict

    monkeypatch.setattr(resources.passwords, "verify", slow)


@pytest.mark.usefixtures("changed_meanwhile")
async def test_a_password_that_is_changed_while_it_is_verified_signs_nobody_in(
    anonymous: httpx.AsyncClient, user: Person
) -> None:
    assert (await enter(anonymous, user.email)).status_code == 401


@pytest.mark.usefixtures("changed_meanwhile")
async def test_without_looking_again_the_old_password_would_sign_in(
    anonymous: httpx.AsyncClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(queries, "lock_verified_account", always)
    assert (await enter(anonymous, user.email)).status_code == 200
