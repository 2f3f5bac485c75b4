"""Which work on the same rows goes on side by side, and which waits: no stronger lock is taken than is needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

import slipway.exports.queries as exports
import slipway.jobs.queries as jobs
import slipway.sessions.queries as sessions
import slipway.users.queries as users
from slipway.auth.lifetimes import Lifetimes
from slipway.auth.models import User
from slipway.http.paging import PageRequest
from slipway.jobs.kinds import Job
from slipway.migrations.errors import sqlstate_of
from slipway.settings import Settings
from slipway.storage.engine import Database

EMAIL = "ada@example.com"
TOKEN = b"token"


@dataclass(frozen=True)
class Rows:
    """What two transactions meet at."""

    user: UUID
    session: UUID
    export: UUID
    lease: UUID
    account: sessions.Account

    def job(self) -> Job:
        return Job(1, "greet", {}, {}, 1, self.lease, datetime.now(UTC))


Work = Callable[[AsyncSession, Rows], Awaitable[object]]


@pytest.fixture
async def rows(db: Database) -> Rows:
    lease, row = uuid4(), None
    async with db.transaction() as session:
        user = User(email=EMAIL, password_hash="hash", permissions=["admin:write"])
        session.add(user)
        await session.flush()
        row = (
            await session.execute(
                text(
                    "INSERT INTO sessions (id, user_id, expires_at, user_agent) VALUES (gen_random_uuid(), :user,"
                    " now() + interval '1 day', '') RETURNING id"
                ),
                {"user": user.id},
            )
        ).scalar_one()
        await sessions.add_refresh_token(session, row, TOKEN)
        export = await exports.add(session, user.id, "csv", timedelta(days=1))
        await session.execute(
            text("INSERT INTO jobs (name, payload, lease, run_after) VALUES ('greet', '{}', :lease, now())"),
            {"lease": lease},
        )
        account = await sessions.account_by_id(session, user.id)
    assert account is not None
    return Rows(user.id, row, export.id, lease, account)


def sql(statement: str) -> Work:
    async def work(session: AsyncSession, rows: Rows) -> object:
        return await session.execute(text(statement), {"user": rows.user, "session": rows.session})

    return work


async def verified(session: AsyncSession, rows: Rows) -> object:
    return await sessions.lock_verified_account(session, rows.account)


async def by_email(session: AsyncSession, _: Rows) -> object:
    return await sessions.account_by_email(session, EMAIL, lock=True)


async def unlocked(session: AsyncSession, _: Rows) -> object:
    return await sessions.account_by_email(session, EMAIL)


async def lock_user(session: AsyncSession, rows: Rows) -> object:
    return await sessions.lock_user(session, rows.user)


async def family(session: AsyncSession, _: Rows) -> object:
    return await sessions.lock_family(session, TOKEN, Lifetimes.of(Settings()))


async def for_update(session: AsyncSession, rows: Rows) -> object:
    return await users.get_for_update(session, rows.user)


async def administrators(session: AsyncSession, _: Rows) -> object:
    return await users.lock_administrators(session)


async def hold(session: AsyncSession, rows: Rows) -> object:
    await jobs.hold(session, rows.job())
    return True


async def begin(session: AsyncSession, rows: Rows) -> object:
    return await exports.begin(session, rows.export)


rename = sql("UPDATE users SET display_name = 'Ada' WHERE id = :user")
make_item = sql("INSERT INTO items (id, owner_id, title, body) VALUES (gen_random_uuid(), :user, 'x', '')")
use_session = sql("UPDATE sessions SET last_used_at = now() WHERE id = :session")
add_token = sql("INSERT INTO refresh_tokens (token_hash, session_id) VALUES ('next', :session)")
end_job = sql("DELETE FROM jobs")
remove_user = sql("DELETE FROM users WHERE id = :user")


async def _meets(db: Database, rows: Rows, first: Work, then: Work) -> bool:
    """Whether the second must wait for the first's commit."""
    async with db.transaction() as one:
        assert await first(one, rows)
        try:
            async with db.transaction() as other:
                await other.execute(text("SET LOCAL lock_timeout = '50ms'"))
                await then(other, rows)
        except DBAPIError as error:
            if sqlstate_of(error) != "55P03":
                raise
            return True
    return False


SIDE_BY_SIDE = [
    (verified, verified),
    (verified, by_email),
    (by_email, by_email),
    (verified, make_item),
    (lock_user, make_item),
    (lock_user, unlocked),
    (unlocked, rename),
    (family, add_token),
    (family, rename),
    (hold, hold),
]
IN_TURN = [
    (verified, rename),
    (by_email, rename),
    (verified, lock_user),
    (lock_user, verified),
    (lock_user, lock_user),
    (family, family),
    (family, use_session),
    (for_update, for_update),
    (for_update, verified),
    (administrators, administrators),
    (administrators, remove_user),
    (hold, end_job),
    (begin, begin),
]


@pytest.mark.parametrize(("pairs", "meet"), [(SIDE_BY_SIDE, False), (IN_TURN, True)], ids=["side by side", "in turn"])
async def test_what_contradicts_waits_for_the_commit_and_nothing_else_does(
    db: Database, rows: Rows, pairs: list[tuple[Work, Work]], *, meet: bool
) -> None:
    wrong = [(first, then) for first, then in pairs if await _meets(db, rows, first, then) is not meet]
    assert wrong == []


async def test_a_locked_user_is_shown_as_they_are_under_the_lock(db: Database, rows: Rows) -> None:
    async with db.transaction() as session:
        user = await users.get_for_update(session, rows.user)
        assert user is not None
        assert user.email == EMAIL
        assert user.pending_email is None
        assert list(await users.lock_administrators(session)) == [rows.user]
        assert len(await users.page(session, PageRequest(1, 1, None), None)) == 1
