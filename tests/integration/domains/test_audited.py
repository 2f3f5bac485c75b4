"""Each write of the API has its one row in the audit log, and nothing that anybody wrote is in it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from integration.conftest import Person
from integration.domains.audited import (
    ELSEWHERE,
    MARK,
    WRITES,
    Stage,
    Written,
    fault,
    faults,
    leaks,
    routes_that_write,
    writes_of,
)
from integration.domains.kept import KEPT, Kept, each_kept
from integration.mailing import post_office
from integration.sql import run_sql
from slipway.app import open_app
from slipway.edge.drain import DrainState
from slipway.resources import Resources
from slipway.telemetry.logs import configure_logging


@pytest.fixture
async def stage(resources: Resources, anonymous: httpx.AsyncClient, admin: Person) -> AsyncIterator[Stage]:
    async with post_office(resources) as post:
        yield Stage(resources, anonymous, post, admin)


@pytest.fixture
async def app(resources: Resources) -> AsyncIterator[FastAPI]:
    async with open_app(resources, configure_logging(resources.settings, io.StringIO()), DrainState()) as edge:
        yield edge.app


async def is_stored(stage: Stage, table: str, column: str) -> bool:
    marked = f"SELECT 1 FROM {table} WHERE {column} LIKE '{MARK}%'"  # noqa: S608 - ours
    return bool(await run_sql(stage.resources, marked))


@each_kept
async def test_every_write_of_what_owners_keep_leaves_one_row_and_nothing_that_was_written_is_in_it(
    stage: Stage, kept: Kept
) -> None:
    assert await faults(stage, writes_of(kept)) == {}
    assert await leaks(stage.resources, [MARK, ELSEWHERE, *stage.secrets]) == []
    assert await is_stored(stage, kept.table, kept.texts[0])


async def test_every_other_write_leaves_one_row_and_nothing_that_was_written_is_in_any(stage: Stage) -> None:
    assert await faults(stage, WRITES) == {}
    await stage.post.sent()  # what jobs do is told, too
    assert await leaks(stage.resources, [MARK, ELSEWHERE, *stage.secrets]) == []
    assert await is_stored(stage, "users", "email")
    assert await is_stored(stage, "sessions", "user_agent")
    assert len(stage.secrets) > len(WRITES)


def unknown(app: FastAPI) -> set[str]:
    """Routes that write and of which no row is known."""
    return routes_that_write(app).difference(WRITES, *(writes_of(kept) for kept in KEPT))


def test_every_route_that_writes_is_walked(app: FastAPI) -> None:
    assert unknown(app) == set()
    assert len(routes_that_write(app)) == len(WRITES) + sum(len(writes_of(kept)) for kept in KEPT)


async def test_a_route_that_writes_without_a_unit_would_be_noticed(
    app: FastAPI, stage: Stage, resources: Resources
) -> None:
    """Negative control: a new route is missed in the walk, and one that tells nothing fails it."""

    @app.post("/api/v1/notes")
    async def note() -> dict[str, str]:
        await run_sql(
            resources, "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'a@example.com', '')"
        )
        return {}

    assert unknown(app) == {"POST /api/v1/notes"}

    async def act(_: Stage) -> Written:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as client:
            reply = await client.post("/api/v1/notes")
        reply.headers["X-Request-ID"] = "of-a-note"
        return Written(reply, "notes.create", None)

    assert await fault(stage, act) == "[] are not [('notes.create', None, None, None, '127.0.0.1')]"


@pytest.mark.parametrize(
    ("column", "value"), [("resource", f"users/{MARK}"), ("action", MARK.upper()), ("resource", MARK.encode().hex())]
)
async def test_what_a_client_wrote_would_be_noticed(resources: Resources, column: str, value: str) -> None:
    insert = f"INSERT INTO audit (attempt, kind, {column}) VALUES (gen_random_uuid(), 'work', :value)"  # noqa: S608 - ours
    await run_sql(resources, insert, value=value)
    assert await leaks(resources, [MARK]) == [f"{column}: {value}"]
