"""Which work on the same rows goes on side by side, and which waits: no stronger lock is taken than is needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from asyncpg import LockNotAvailableError
from sqlalchemy import text

import slipway.exports.queries as exports
import slipway.jobs.queries as jobs
import slipway.sessions.queries as sessions
import slipway.users.queries as users
from slipway.auth.lifetimes import Lifetimes
from slipway.http.paging import PageRequest
from slipway.jobs.kinds import Job
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.statements import Statement, one
from slipway.storage.unit import Transaction

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


Work = Callable[[Transaction, Rows], Awaitable[object]]


TEST = Action("tests", "lock")
_SESSION = Statement(
    text(
        "INSERT INTO sessions (id, user_id, expires_at, user_agent)"
        " VALUES (gen_random_uuid(), :user, now() + interval '1 day', '') RETURNING id"
    )
)
_JOB = Statement(text("INSERT INTO jobs (name, payload, lease, run_after) VALUES ('greet', '{}', :lease, now())"))


@pytest.fixture
async def rows(db: Database) -> Rows:
    lease = uuid4()

    async def work(transaction: Transaction) -> tuple[UUID, UUID, UUID]:
        user = await users.add(transaction, EMAIL, "", "hash", ["admin:write"])
        row = one(await transaction.row(_SESSION, user=user.id))
        await sessions.add_refresh_token(transaction, row.id, TOKEN)
        wanted = {"id": uuid4(), "owner_id": user.id, "format": "csv", "lifetime": timedelta(days=1)}
        export = one(await transaction.row(exports.ADD, **wanted))
        await transaction.row(_JOB, lease=lease)
        return user.id, row.id, export.id

    user_id, session_id, export_id = await db.unit(TEST, work)
    account = await db.read(lambda session: sessions.account_by_id(session, user_id))
    assert account is not None
    return Rows(user_id, session_id, export_id, lease, account)


def sql(clause: str) -> Work:
    statement = Statement(text(clause))

    async def work(transaction: Transaction, rows: Rows) -> object:
        return await transaction.row(statement, user=rows.user, session=rows.session)

    return work


async def verified(transaction: Transaction, rows: Rows) -> object:
    return await sessions.lock_verified_account(transaction, rows.account)


async def by_email(transaction: Transaction, _: Rows) -> object:
    return await sessions.account_by_email(transaction, EMAIL, lock=True)


async def unlocked(transaction: Transaction, _: Rows) -> object:
    return await sessions.account_by_email(transaction, EMAIL)


async def lock_user(transaction: Transaction, rows: Rows) -> object:
    return await sessions.lock_user(transaction, rows.user)


async def family(transaction: Transaction, _: Rows) -> object:
    return await sessions.lock_family(transaction, TOKEN, Lifetimes.of(Settings()))


async def for_update(transaction: Transaction, rows: Rows) -> object:
    return await users.get_for_update(transaction, rows.user)


async def administrators(transaction: Transaction, _: Rows) -> object:
    return await users.lock_administrators(transaction)


async def hold(transaction: Transaction, rows: Rows) -> object:
    await jobs.hold(transaction, rows.job())
    return True


async def begin(transaction: Transaction, rows: Rows) -> object:
    return await transaction.row(exports.LOCK_UNMADE, export_id=rows.export)


rename = sql("UPDATE users SET display_name = 'Ada' WHERE id = :user")
make_item = sql("INSERT INTO items (id, owner_id, title, body) VALUES (gen_random_uuid(), :user, 'x', '')")
use_session = sql("UPDATE sessions SET last_used_at = now() WHERE id = :session")
add_token = sql("INSERT INTO refresh_tokens (token_hash, session_id) VALUES ('next', :session)")
end_job = sql("DELETE FROM jobs")
remove_user = sql("DELETE FROM users WHERE id = :user")


_LITTLE_PATIENCE = Statement(text("SET LOCAL lock_timeout = '50ms'"))


async def _meets(db: Database, rows: Rows, first: Work, then: Work) -> bool:
    """Whether the second must wait for the first's commit."""

    async def beside(transaction: Transaction) -> None:
        await transaction.row(_LITTLE_PATIENCE)
        await then(transaction, rows)

    async def work(transaction: Transaction) -> bool:
        assert await first(transaction, rows)
        try:
            await db.unit(TEST, beside)
        except LockNotAvailableError:
            return True
        return False

    return await db.unit(TEST, work)


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
    async def work(transaction: Transaction) -> tuple[users.Known | None, list[UUID]]:
        return await users.get_for_update(transaction, rows.user), list(await users.lock_administrators(transaction))

    user, administrators = await db.unit(TEST, work)
    assert user is not None
    assert (user.email, user.pending_email, administrators) == (EMAIL, None, [rows.user])
    assert len(await db.read(lambda session: users.page(session, PageRequest(1, 1, None), None))) == 1
