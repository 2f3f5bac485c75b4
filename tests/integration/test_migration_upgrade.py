"""Upgrades of real databases: releases that come, go back and are skipped, revisions that fail, adopted databases."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from servers.databases import TestDatabase
from servers.migration_images import (
    Step,
    contract,
    image,
    ledger_of,
    owner_settings,
    session,
    table,
    tables_of,
    value,
    version_of,
)
from servers.waiting import free_port, until
from slipway.migrations import runner
from slipway.migrations.errors import MigrationError
from slipway.migrations.gate import GateVerdict, decide_gate
from slipway.migrations.inspection import inspect
from slipway.migrations.runner import stamp, upgrade
from slipway.migrations.script import read_chain
from slipway.storage.login import Login, login_from_settings

STEPS = {
    "a": table("a"),
    "b": table("b"),
    "drop_a": contract("drop_a", "a"),
    "c": table("c"),
    "drop_b": contract("drop_b", "b"),
}
RELEASES = {
    "one": ["a"],
    "two": ["a", "b"],
    "three": ["a", "b", "drop_a"],
    "four": ["a", "b", "drop_a", "c", "drop_b"],
}


@pytest.fixture
def releases(tmp_path: Path) -> dict[str, Path]:
    return {name: image(tmp_path / name, *(STEPS[step] for step in steps)) for name, steps in RELEASES.items()}


@dataclass(frozen=True)
class Case:
    name: str
    upgrades: list[str]
    tables: set[str]
    gates: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("fresh database", ["two"], {"a", "b"}, {"one": "open", "two": "open", "three": "open", "four": "waiting"}),
    Case("release by release", ["one", "two", "three", "four"], {"c"}, {"two": "refused", "four": "open"}),
    Case("skipped releases", ["one", "four"], {"c"}, {"one": "refused", "three": "refused", "four": "open"}),
    Case("the same release again", ["two", "two", "two"], {"a", "b"}, {"two": "open"}),
    Case("trailing contract held back", ["two", "three expand"], {"a", "b"}, {"two": "open", "three": "open"}),
    Case("trailing contract afterwards", ["two", "three expand", "three"], {"b"}, {"two": "refused", "three": "open"}),
    Case("older image after expand", ["two", "one"], {"a", "b"}, {"one": "open"}),
    Case("expand on an empty database runs straight through", ["three expand"], {"b"}, {"three": "open"}),
]


async def gate_of(database: TestDatabase, versions: Path) -> GateVerdict:
    return (await inspect(owner_settings(database), versions)).verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_upgrades(case: Case, empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    for step in case.upgrades:
        name, _, phase = step.partition(" ")
        await upgrade(owner_settings(empty_database), versions=releases[name], phase="expand" if phase else "all")
    assert await tables_of(empty_database) == case.tables
    for name, state in case.gates.items():
        assert (await gate_of(empty_database, releases[name])).state == state, name


async def test_an_older_image_after_a_contract_is_refused_by_runner_and_gate(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["four"])
    with pytest.raises(MigrationError, match="Contract drop_a, drop_b of a later release was applied"):
        await upgrade(owner_settings(empty_database), versions=releases["two"])
    assert await tables_of(empty_database) == {"c"}
    assert (await gate_of(empty_database, releases["two"])).state == "refused"


async def test_the_ledger_says_what_was_applied_in_order_and_that_contracts_were_announced(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    outcome = await upgrade(owner_settings(empty_database), versions=releases["four"])
    assert outcome.applied == ("a", "b", "drop_a", "c", "drop_b")
    assert await ledger_of(empty_database) == [
        ("a", "expand", False, True),
        ("b", "expand", False, True),
        ("drop_a", "contract", True, True),
        ("c", "expand", False, True),
        ("drop_b", "contract", True, True),
    ]
    assert await version_of(empty_database) == ["drop_b"]


async def test_a_contract_is_announced_before_it_runs_and_an_older_image_refuses_from_then_on(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    async with session(empty_database.url_owner) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE a IN ACCESS SHARE MODE")
        running = asyncio.create_task(upgrade(owner_settings(empty_database), versions=releases["three"]))
        await until(lambda: _announced(empty_database))
        assert (await gate_of(empty_database, releases["two"])).reason == "ContractAnnounced"
        assert (await gate_of(empty_database, releases["three"])).state == "open"
        assert "a" in await tables_of(empty_database)
    assert (await running).applied == ("drop_a",)
    assert (await gate_of(empty_database, releases["two"])).reason == "ContractApplied"


async def _announced(database: TestDatabase) -> bool:
    return ("drop_a", "contract", True, False) in await ledger_of(database)


async def test_a_revision_that_fails_leaves_neither_table_nor_ledger_row(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    bad = Step("bad", ["CREATE TABLE half (id bigint)", "INSERT INTO nowhere VALUES ('a-secret-in-a-statement')"])
    with pytest.raises(MigrationError, match=r"Revision bad failed: relation .nowhere. does not exist") as failure:
        await upgrade(owner_settings(empty_database), versions=image(tmp_path, table("a"), bad))
    assert "a-secret" not in str(failure.value)
    assert await tables_of(empty_database) == {"a"}
    assert await ledger_of(empty_database) == [("a", "expand", False, True)]
    mended = image(tmp_path, table("a"), Step("bad", ["CREATE TABLE half (id bigint)"]))
    assert (await upgrade(owner_settings(empty_database), versions=mended)).applied == ("bad",)


async def test_a_ledger_written_outside_the_transaction_would_lie(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: what is written before the revision, on its own, stays when the revision fails."""

    async def announce_and_claim(raw: asyncpg.Connection, revision: object) -> None:
        await raw.execute(
            "INSERT INTO slipway_ledger (revision, kind, applied_at) VALUES ($1, 'contract', now())",
            revision.id,  # type: ignore[attr-defined]
        )

    monkeypatch.setattr(runner.ledger, "announce", announce_and_claim)
    bad = image(tmp_path, Step("bad", ["SELECT 1/0"], kind="contract"))
    with pytest.raises(MigrationError, match="division by zero"):
        await upgrade(owner_settings(empty_database), versions=bad)
    assert await ledger_of(empty_database) == [("bad", "contract", False, True)]
    assert await version_of(empty_database) == []


# --- Databases that plain Alembic made


async def _made_by_alembic(database: TestDatabase, version: str) -> None:
    async with session(database.url_owner) as connection:
        await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        await connection.execute("CREATE TABLE a (id bigint); CREATE TABLE b (id bigint)")
        await connection.execute("INSERT INTO alembic_version VALUES ($1)", version)


async def test_a_database_without_a_ledger_is_adopted(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    await _made_by_alembic(empty_database, "b")
    assert (await gate_of(empty_database, releases["two"])).reason == "LedgerMissing"
    assert (await upgrade(owner_settings(empty_database), versions=releases["two"])).applied == ()
    assert await ledger_of(empty_database) == [("a", "expand", False, True), ("b", "expand", False, True)]
    assert (await gate_of(empty_database, releases["two"])).state == "open"


async def test_a_ledger_that_alembics_table_contradicts_is_put_right(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    async with session(empty_database.url_owner) as connection:
        await connection.execute("DROP TABLE b; UPDATE alembic_version SET version_num = 'a'")
    assert (await upgrade(owner_settings(empty_database), versions=releases["two"])).applied == ("b",)
    assert await tables_of(empty_database) == {"a", "b"}
    assert [row[0] for row in await ledger_of(empty_database)] == ["a", "b"]


async def test_an_unknown_database_is_refused_and_left_as_it_was(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await _made_by_alembic(empty_database, "somewhere-else")
    with pytest.raises(MigrationError, match="at somewhere-else, which this image doesn't know"):
        await upgrade(owner_settings(empty_database), versions=releases["two"])
    assert await value(empty_database.url_owner, "SELECT to_regclass('slipway_ledger')") is None


async def test_a_stamp_writes_the_ledger_too(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    settings = owner_settings(empty_database)
    await stamp(settings, "drop_a", versions=releases["four"])
    assert await version_of(empty_database) == ["drop_a"]
    assert [row[0] for row in await ledger_of(empty_database)] == ["a", "b", "drop_a"]
    await stamp(settings, "a", versions=releases["four"])
    assert await version_of(empty_database) == ["a"]
    assert [row[0] for row in await ledger_of(empty_database)] == ["a"]
    await stamp(settings, "base", versions=releases["four"])
    assert (await version_of(empty_database), await ledger_of(empty_database)) == ([], [])
    assert await tables_of(empty_database) == set()
    with pytest.raises(MigrationError, match="no revision 'nowhere'"):
        await stamp(settings, "nowhere", versions=releases["four"])


# --- Logging


async def test_an_upgrade_leaves_the_logging_of_the_process_alone(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    ours = logging.getLogger("slipway.migrations.test")
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level, ours.disabled)
    await upgrade(owner_settings(empty_database), versions=releases["one"])
    assert before == (
        logging.root.level,
        list(logging.root.handlers),
        logging.getLogger("alembic").level,
        ours.disabled,
    )


async def test_the_verdict_on_a_real_ledger_is_the_pure_one(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await upgrade(owner_settings(empty_database), versions=releases["two"])
    seen = await inspect(owner_settings(empty_database), releases["three"])
    assert seen.verdict == decide_gate(read_chain(releases["three"]), seen.rows)


@asynccontextmanager
async def relay(owner: Login, port: int, *, turned_away: int = 0) -> AsyncIterator[list[bytes]]:
    """A server that passes connections on but for the first; yields how those began. At its end all are closed."""
    beginnings: list[bytes] = []
    connections: list[asyncio.Task[Any] | None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        if len(beginnings) < turned_away:
            beginnings.append(await reader.read(8))
            await _close(writer)
            return
        their_reader, their_writer = await asyncio.open_connection(owner.host, owner.port)
        await asyncio.gather(_forward(reader, their_writer), _forward(their_reader, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", port):
        yield beginnings
        await asyncio.gather(*(connection for connection in connections if connection))


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_server_that_comes_up_late_is_waited_for(empty_database: TestDatabase, tmp_path: Path) -> None:
    owner = login_from_settings(owner_settings(empty_database))
    port, lines = free_port(), []
    late = owner_settings(empty_database).with_changes(
        database_url=empty_database.url_owner.replace(f":{owner.port}/", f":{port}/")
    )
    versions = image(tmp_path, table("a"))
    running = asyncio.create_task(upgrade(late, versions=versions, patience=20, report=lines.append))
    await until(lambda: lines)
    assert lines[0].startswith("The database can't be reached: ConnectionRefusedError")
    async with relay(owner, port):
        assert (await running).applied == ("a",)


async def test_a_server_that_closes_connections_while_it_starts_is_waited_for(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    owner = login_from_settings(owner_settings(empty_database))
    port, lines = free_port(), []
    settings = owner_settings(empty_database).with_changes(
        database_url=empty_database.url_owner.replace(f":{owner.port}/", f":{port}/")
    )
    async with relay(owner, port, turned_away=2) as turned_away:
        outcome = await upgrade(settings, versions=image(tmp_path, table("a")), patience=20, report=lines.append)
    assert outcome.applied == ("a",)
    assert len(turned_away) == 2
    assert lines[0] == "The database can't be reached: the connection was lost. Looking again for 20 s."


async def test_without_patience_a_server_that_is_not_up_ends_the_run(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    port = login_from_settings(owner_settings(empty_database)).port
    nobody = empty_database.url_owner.replace(f":{port}/", f":{free_port()}/")
    with pytest.raises(ConnectionRefusedError):
        await upgrade(
            owner_settings(empty_database).with_changes(database_url=nobody), versions=image(tmp_path, table("a"))
        )


async def test_a_refused_login_is_told_at_once_however_patient(empty_database: TestDatabase, tmp_path: Path) -> None:
    wrong = re.sub(r":[^:@/]+@", ":not-the-password@", empty_database.url_owner)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await upgrade(
            owner_settings(empty_database).with_changes(database_url=wrong),
            versions=image(tmp_path, table("a")),
            patience=3600,
        )
