"""A revoked session is refused everywhere within the stated bound, and the row is read no more often than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func

from integration.sql import run_sql
from servers.clock import Clock
from servers.jobs import TRY
from servers.staging import staged
from slipway.auth import principals
from slipway.auth.models import User
from slipway.auth.principals import Principals
from slipway.resources import Resources
from slipway.sessions import queries
from slipway.sessions.models import Session
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(principals, "monotonic", made)
    return made


@pytest.fixture
async def session_id(resources: Resources) -> UUID:
    user = User(email="ada@example.com", password_hash="x", permissions=["items:read"])
    async with staged(resources.database) as session:
        session.add(user)
        await session.flush()
        row = Session(user_id=user.id, expires_at=func.now() + func.make_interval(0, 0, 0, 1))
        session.add(row)
        await session.flush()
        return row.id


@pytest.fixture
async def elsewhere(resources: Resources) -> AsyncIterator[Principals]:
    """What another process would hold: its own cache and its own connections."""
    database = Database(resources.settings, login_from_settings(resources.settings))
    yield Principals(resources.settings, database)
    await database.close()


@pytest.fixture
def reads(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every read of the database that this process's cache makes."""
    seen: list[object] = []
    read = resources.database.fetch_row

    async def counted(query: str, *arguments: object) -> Any:
        seen.append(query)
        return await read(query, *arguments)

    monkeypatch.setattr(resources.database, "fetch_row", counted)
    return seen


async def revoke(resources: Resources, session_id: UUID) -> None:
    assert await resources.database.unit(
        TRY, lambda transaction: queries.revoke_session(transaction, session_id, "test")
    )
    resources.principals.forget([session_id])


async def test_a_session_revoked_here_is_refused_here_at_once_and_elsewhere_within_the_bound(
    resources: Resources, elsewhere: Principals, session_id: UUID, clock: Clock
) -> None:
    assert await resources.principals.get(session_id) is not None
    assert await elsewhere.get(session_id) is not None
    await revoke(resources, session_id)
    assert await resources.principals.get(session_id) is None
    clock.now += 0.999
    assert await elsewhere.get(session_id) is not None
    clock.now += 0.001
    assert elsewhere.peek(session_id) is None
    assert await elsewhere.get(session_id) is None


async def test_without_the_bound_it_would_be_accepted_elsewhere_for_ever(
    resources: Resources, elsewhere: Principals, session_id: UUID, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "_max_age", float("inf"))
    await elsewhere.get(session_id)
    await revoke(resources, session_id)
    clock.now += 86400
    assert await elsewhere.get(session_id) is not None


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE sessions SET expires_at = now()",
        "UPDATE users SET is_active = false",
        "DELETE FROM users",
    ],
)
async def test_an_expired_session_and_a_user_who_is_gone_are_refused_within_the_bound(
    resources: Resources, session_id: UUID, clock: Clock, end: str
) -> None:
    assert await resources.principals.get(session_id) is not None
    await run_sql(resources, end)
    clock.now += 1
    assert await resources.principals.get(session_id) is None


async def test_a_permission_taken_away_is_seen_within_the_bound(
    resources: Resources, session_id: UUID, clock: Clock
) -> None:
    await resources.principals.get(session_id)
    await run_sql(resources, "UPDATE users SET permissions = '{}'")
    clock.now += 1
    user = await resources.principals.get(session_id)
    assert user is not None
    assert user.permissions == frozenset()


@pytest.mark.usefixtures("clock")
async def test_many_requests_at_once_share_one_read(
    resources: Resources, session_id: UUID, reads: list[object]
) -> None:
    users = await asyncio.gather(*(resources.principals.get(session_id) for _ in range(50)))
    assert len({id(user) for user in users}) == 1
    assert resources.principals.peek(session_id) is users[0]
    assert len(reads) == 1
    assert await resources.principals.get(uuid4()) is None


async def test_with_a_bound_of_zero_every_request_reads_the_row(
    resources: Resources, session_id: UUID, reads: list[object]
) -> None:
    always = Principals(resources.settings.with_changes(session_max_age=0), resources.database)
    await asyncio.gather(*(always.get(session_id) for _ in range(3)))
    await always.get(session_id)
    assert always.peek(session_id) is None
    assert len(reads) == 4


class Held:
    """A read whose answer is held back after the database gave it."""

    def __init__(self, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answered, self.release = asyncio.Event(), asyncio.Event()
        read = resources.database.fetch_row

        async def held(query: str, *arguments: object) -> Any:
            answer = await read(query, *arguments)
            if not self.answered.is_set():
                self.answered.set()
                await self.release.wait()
            return answer

        monkeypatch.setattr(resources.database, "fetch_row", held)


async def test_an_answer_from_before_a_revocation_is_not_kept(
    resources: Resources, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(resources, monkeypatch)
    early = asyncio.create_task(resources.principals.get(session_id))
    await held.answered.wait()
    await revoke(resources, session_id)
    assert await resources.principals.get(session_id) is None
    held.release.set()
    assert await early is not None, "asked before the revocation"
    assert resources.principals.peek(session_id) is None
    assert await resources.principals.get(session_id) is None


async def test_without_forgetting_questions_under_way_the_old_answer_would_be_kept(
    resources: Resources, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(resources, monkeypatch)
    early = asyncio.create_task(resources.principals.get(session_id))
    await held.answered.wait()
    monkeypatch.setattr(resources.principals, "forget", lambda _: None)
    await revoke(resources, session_id)
    held.release.set()
    await early
    assert resources.principals.peek(session_id) is not None


async def test_a_changed_user_is_read_again_for_all_their_sessions(
    resources: Resources, session_id: UUID, reads: list[object]
) -> None:
    user = await resources.principals.get(session_id)
    assert user is not None
    resources.principals.forget_user(uuid4())
    assert resources.principals.peek(session_id) is user
    resources.principals.forget_user(user.id)
    assert resources.principals.peek(session_id) is None
    await resources.principals.get(session_id)
    assert len(reads) == 2


async def test_a_client_that_goes_away_does_not_end_the_read_for_others(
    resources: Resources, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(resources, monkeypatch)
    first = asyncio.create_task(resources.principals.get(session_id))
    await held.answered.wait()
    second = asyncio.create_task(resources.principals.get(session_id))
    await asyncio.sleep(0)
    first.cancel()
    held.release.set()
    assert await second is not None


async def test_a_database_that_is_away_is_an_error_and_the_next_request_asks_again(
    resources: Resources, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr(resources.database, "fetch_row", away)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await resources.principals.get(session_id)
    assert await resources.principals.get(session_id) is not None


async def test_the_cache_is_bounded(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "CACHE_SIZE", 3)
    for _ in range(5):
        await resources.principals.get(uuid4())
    assert len(resources.principals._entries) == 3  # noqa: SLF001 - its size is seen by nobody else
