"""SQL in the log, in debug: each statement with its time, and no value in any of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import bindparam, delete, text
from sqlalchemy.exc import DBAPIError

from servers.asgi import Lines
from servers.staging import staged
from slipway.auth.models import User
from slipway.items.models import Item
from slipway.items.service import ITEMS
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.storage.models import new_id
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction
from slipway.telemetry.logs import configure_logging

TITLE = "A title that only this test writes"
DELETE = Statement(delete(Item.__table__).where(Item.id == bindparam("row_id")))  # type: ignore[arg-type]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Lines()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
async def debugged(app_settings: Settings, lines: Lines) -> AsyncIterator[Resources]:
    settings = app_settings.with_changes(debug=True)
    configure_logging(settings, lines)  # type: ignore[arg-type]
    async with open_resources(settings) as opened:
        await opened.database.read(lambda session: session.execute(text("SELECT")))  # what SQLAlchemy asks at first
        await _statements(lines)
        lines.text = ""
        yield opened


async def _statements(lines: Lines) -> list[dict[str, Any]]:
    await asyncio.sleep(0)  # the driver tells of a query in the loop's next turn
    return [line for line in lines.all() if line["logger"] == "slipway.sql"]


async def _write(resources: Resources) -> UUID:
    async with staged(resources.database) as session:
        user = User(email="ada@only-here.example", password_hash="$argon2id$only-here", permissions=[])
        session.add(user)
        await session.flush()
        item = Item(owner_id=user.id, title=TITLE, body="")
        session.add(item)
        await session.flush()
    item_id: UUID = item.id
    return item_id


async def test_each_statement_of_a_unit_is_a_line_and_its_row_of_the_audit_log_is_one_with_its_commit(
    debugged: Resources, lines: Lines
) -> None:
    item = await _write(debugged)
    lines.text = ""

    async def work(transaction: Transaction) -> None:
        transaction.entry.resource = item
        await transaction.row(DELETE, row_id=item)

    await debugged.database.unit(ITEMS.deletion, work)
    told = await _statements(lines)
    assert [line["message"] for line in told] == ["BEGIN", "DELETE items", "INSERT audit"]
    assert all(0 < line["duration_ms"] < 10_000 for line in told)
    assert "$1" in told[1]["statement"]
    assert told[2]["statement"].startswith("INSERT INTO audit (attempt, kind, action, resource")
    assert told[2]["statement"].endswith("COMMIT")
    assert str(item) not in lines.text


async def test_reads_of_every_kind_are_lines(debugged: Resources, lines: Lines) -> None:
    await debugged.database.fetch_row("SELECT id FROM users WHERE id = $1", new_id())
    await debugged.database.read(lambda session: session.get(Item, new_id()))
    told = await _statements(lines)
    assert [line["message"] for line in told] == ["SELECT users", "SELECT items"]
    assert told[0]["duration_ms"] > 0


async def test_a_statement_is_said_to_have_taken_as_long_as_it_did(debugged: Resources, lines: Lines) -> None:
    slow = "SELECT pg_sleep(0.1)"
    began = monotonic()
    await debugged.database.fetch_row(slow)
    await debugged.database.read(lambda session: session.execute(text(slow)))
    took = (monotonic() - began) * 1000
    told = await _statements(lines)
    assert all(99 <= line["duration_ms"] <= took for line in told)
    assert len(told) == 2


async def test_many_rows_at_once_are_one_line(debugged: Resources, lines: Lines) -> None:
    item = await _write(debugged)
    lines.text = ""
    async with staged(debugged.database) as session:
        await session.execute(
            text("UPDATE items SET title = :title WHERE id = :id"), [{"title": TITLE, "id": item}] * 2
        )
    assert [line["message"] for line in await _statements(lines)] == ["BEGIN", "UPDATE items", "COMMIT"]


async def test_a_statement_that_fails_is_a_line_with_the_kind_of_its_error(debugged: Resources, lines: Lines) -> None:
    with pytest.raises(DBAPIError):
        await debugged.database.read(lambda session: session.execute(text("SELECT 'a value' FROM nowhere")))
    (told,) = await _statements(lines)
    assert (told["message"], told["error"]) == ("SELECT nowhere", "ProgrammingError")
    assert told["statement"] == "SELECT … FROM nowhere"


async def test_no_value_is_in_the_log(debugged: Resources, lines: Lines) -> None:
    item = await _write(debugged)
    await debugged.database.read(lambda session: session.get(Item, item))
    await debugged.database.fetch_row("SELECT title FROM items WHERE title = 'only-here' OR id = $1", item)
    assert len(await _statements(lines)) == 6
    for value in ("only-here", TITLE, str(item), item.hex):
        assert value not in lines.text


async def test_without_debug_there_is_no_sql_in_the_log(app_settings: Settings, lines: Lines) -> None:
    configure_logging(app_settings, lines)  # type: ignore[arg-type]
    async with open_resources(app_settings) as resources:
        await _write(resources)
    assert await _statements(lines) == []
