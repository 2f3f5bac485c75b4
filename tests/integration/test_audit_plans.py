"""Whatever administrators ask of a long audit log, an index answers, and few rows are read for a page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import combinations
from typing import Any

import asyncpg
import pytest

from servers.databases import TestDatabase, create_database, drop_database
from servers.migration_images import session
from servers.plans import nodes
from servers.postgres import PostgresServer
from slipway.audit.filters import Filters
from slipway.audit.queries import Place, newest, oldest
from slipway.storage.audit import AUDIT
from slipway.storage.statements import Statement

ROWS = 100_000
MOST_READ = 200
"""Rows that may be read for a page of 20."""
FEW = 7201
"""Rows of two hours: where no more are within the times that were asked about, all of them may be read and sorted."""

# A row a second. One person did half of all; one did much, and left long ago, and so did what they alone did.
FILL = """
INSERT INTO audit (attempt, kind, at, actor, action, resource, request_id)
SELECT md5(n::text)::uuid, 'work', now() - interval '1 second' * (ROWS - n),
    md5(CASE WHEN n <= ROWS / 20 THEN 'left' WHEN n % 2 = 0 THEN 'busy' ELSE 'user ' || n % 1000 END)::uuid,
    CASE WHEN n <= ROWS / 20 THEN 'boats.steer' WHEN n % 3 = 0 THEN 'boats.row' ELSE 'boats.sail' END,
    'boats/' || n % 5000, CASE WHEN n % 10 = 0 THEN 'the same' ELSE 'request ' || n END
FROM generate_series(1, ROWS) n;
ANALYZE audit;
"""
PICKED = (
    "SELECT *, at - interval '1 hour' AS since, at + interval '1 hour' AS until FROM audit"
    " ORDER BY at OFFSET $1 LIMIT 1"
)
NAMES = ("actor", "action", "resource", "request_id", "since", "until")
SUBSETS = [names for size in range(len(NAMES) + 1) for names in combinations(NAMES, size)]


@pytest.fixture(scope="module")
def long_log(postgres: PostgresServer, migrated_template: str) -> Iterator[TestDatabase]:
    async def build() -> TestDatabase:
        database = await create_database(postgres, template=migrated_template)
        async with session(database.url_owner) as owner:
            await owner.execute(FILL.replace("ROWS", str(ROWS)))
        return database

    database = asyncio.run(build())
    yield database
    asyncio.run(drop_database(database))


def literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value.isoformat() if isinstance(value, datetime) else value}'"


async def faults(connection: asyncpg.Connection, select: Any, most: int = MOST_READ, *, generic: bool) -> list[str]:
    """What keeps a page from being served well: by a plan for these values, or by the one for all, as drivers keep."""
    statement = Statement(select)
    values = ", ".join(map(literal, statement.arguments({})))
    await connection.execute(f"SET plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
    await connection.execute(f"PREPARE page AS {statement.text}")
    try:
        told = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({values})")
    finally:
        await connection.execute("DEALLOCATE page")
    plan = list(nodes(json.loads(told)[0]["Plan"]))
    scans = [node for node in plan if "Relation Name" in node]
    read = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans)
    found = [f"{node['Relation Name']} is read as a whole" for node in scans if node["Node Type"] == "Seq Scan"]
    return [*found, f"{read} rows are read"] if read > most else found


@asynccontextmanager
async def undone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """What is done in the block is undone at its end."""
    change = connection.transaction()
    await change.start()
    try:
        yield
    finally:
        await change.rollback()


async def every_fault(connection: asyncpg.Connection, subsets: list[tuple[str, ...]]) -> dict[str, list[str]]:
    """Of the newest and the oldest page, and of those after a row in the middle; asked about an old row and a new."""
    middle = await connection.fetchrow(PICKED, ROWS // 2)
    place = Place(middle["at"], middle["attempt"])
    found = {}
    for when, number in (("old", 100), ("new", ROWS - 100)):
        row = await connection.fetchrow(PICKED, number)
        for names in subsets:
            wanted = Filters(**{name: row[name] for name in names})
            first, last = number - 3600 if wanted.since else 0, number + 3600 if wanted.until else ROWS
            within = min(ROWS, last) - max(0, first) + 1
            most = within if within <= FEW else MOST_READ
            for way in (newest, oldest):
                for after in (None, place):
                    for generic in (False, True):
                        asked = f"{way.__name__} {when} {names} {after and 'after'} {generic and 'generic'}"
                        found[asked] = await faults(connection, way(wanted, after, 21), most, generic=generic)
    return {asked: told for asked, told in found.items() if told}


async def test_every_combination_of_filters_is_served_by_an_index(long_log: TestDatabase) -> None:
    async with session(long_log.url_app) as connection:
        assert await every_fault(connection, SUBSETS) == {}


@pytest.mark.parametrize(
    ("index", "names"),
    [
        ("audit_at_idx", ()),
        ("audit_at_idx", ("since",)),
        ("audit_actor_idx", ("actor",)),
        ("audit_action_idx", ("action",)),
        ("audit_resource_idx", ("resource",)),
        ("audit_request_id_idx", ("request_id",)),
    ],
)
async def test_without_its_index_a_filter_would_read_much(
    long_log: TestDatabase, index: str, names: tuple[str, ...]
) -> None:
    """Negative control: each of the indexes is needed."""
    async with session(long_log.url_owner) as connection, undone(connection):
        await connection.execute(f"DROP INDEX {index}")
        assert len(await every_fault(connection, [names])) >= 4


async def test_with_indexes_in_the_order_of_times_who_left_long_ago_would_be_looked_for_in_all_that_is_newer(
    long_log: TestDatabase,
) -> None:
    """Negative control of the order in which the list asks for times."""
    wanted = Filters(action="boats.steer")
    plain = newest(wanted, None, 21).order_by(None).order_by(AUDIT.c.at.desc(), AUDIT.c.attempt.desc())
    async with session(long_log.url_owner) as connection, undone(connection):
        await connection.execute("DROP INDEX audit_action_idx; CREATE INDEX ON audit (action, at)")
        [said] = await faults(connection, plain, generic=False)
        assert int(said.split(".")[0]) > ROWS * 0.9
