"""Contracts that are announced, taken back, and planned by images that know them and images that don't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
)
from slipway.migrations import announcements
from slipway.migrations.announcements import announce, withdraw
from slipway.migrations.errors import MigrationError
from slipway.migrations.inspection import inspect, plan
from slipway.migrations.runner import upgrade


@pytest.fixture
def releases(tmp_path: Path) -> dict[str, Path]:
    """`new` has a contract that `old` doesn't know; `stranded` has an expand behind it."""
    steps = [table("a"), table("b"), contract("drop_a", "a"), table("c"), contract("drop_b", "b")]
    return {
        "old": image(tmp_path / "old", *steps[:2]),
        "new": image(tmp_path / "new", *steps[:3]),
        "stranded": image(tmp_path / "stranded", *steps),
    }


async def gate(database: TestDatabase, versions: Path) -> str:
    return (await inspect(owner_settings(database), versions)).verdict.reason


async def test_announced_contracts_close_the_gate_of_older_images_and_doing_it_twice_changes_nothing(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=releases["old"])
    assert await gate(empty_database, releases["old"]) == "SchemaReady"
    outcome = await announce(settings, versions=releases["new"])
    assert (outcome.applied, outcome.held_back, outcome.current) == ((), ("drop_a",), ("b",))
    at = await value(empty_database.url_owner, "SELECT announced_at FROM slipway_ledger WHERE revision = 'drop_a'")
    assert await announce(settings, versions=releases["new"]) == outcome
    again = await value(empty_database.url_owner, "SELECT announced_at FROM slipway_ledger WHERE revision = 'drop_a'")
    assert at == again
    assert await gate(empty_database, releases["old"]) == "ContractAnnounced"
    assert await gate(empty_database, releases["new"]) == "SchemaReady"
    assert await tables_of(empty_database) == {"a", "b"}


async def test_contracts_before_an_expand_are_announced_too(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=releases["old"])
    assert (await announce(settings, versions=releases["stranded"])).held_back == ("drop_a", "drop_b")
    assert (await upgrade(settings, versions=releases["stranded"])).applied == ("drop_a", "c", "drop_b")
    assert (await announce(settings, versions=releases["stranded"])).held_back == ()


async def test_the_service_may_read_an_announcement_on_a_database_without_a_ledger(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    await announce(owner_settings(empty_database, database_grant_to="slipway_app"), versions=releases["new"])
    query = "SELECT announced_at IS NOT NULL FROM slipway_ledger WHERE revision = 'drop_a'"
    assert await value(empty_database.url_app, query)


async def test_an_older_image_plans_with_what_it_does_not_know_as_foreign_and_takes_it_back(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=releases["old"])
    await announce(settings, versions=releases["new"])
    seen = await plan(settings, versions=releases["old"])
    assert (seen.foreign, seen.announced, seen.steps.run) == (("drop_a",), frozenset({"drop_a"}), ())
    own = await plan(settings, versions=releases["new"])
    assert (own.foreign, own.announced) == ((), frozenset({"drop_a"}))

    assert (await withdraw(settings, versions=releases["new"]))[0] == ()
    assert await gate(empty_database, releases["old"]) == "ContractAnnounced"
    taken_back, outcome = await withdraw(settings, versions=releases["old"])
    assert (taken_back, outcome.held_back, outcome.current) == (("drop_a",), (), ("b",))
    assert await gate(empty_database, releases["old"]) == "SchemaReady"
    assert (await withdraw(settings, versions=releases["old"]))[0] == ()
    assert (await upgrade(settings, versions=releases["new"])).applied == ("drop_a",)


async def test_an_applied_contract_is_never_taken_back(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=releases["new"])
    assert (await withdraw(settings, versions=releases["old"]))[0] == ()
    with pytest.raises(MigrationError, match="was applied"):
        await withdraw(settings, "drop_a", versions=releases["old"])
    assert ("drop_a", "contract", True, True) in await ledger_of(empty_database)


async def test_without_the_look_at_what_was_applied_the_ledger_itself_still_refuses(
    empty_database: TestDatabase, releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement has a guard of its own."""
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=releases["new"])
    monkeypatch.setattr(announcements, "decide_withdrawal", lambda *_: ("drop_a",))
    await withdraw(settings, versions=releases["old"])
    assert ("drop_a", "contract", True, True) in await ledger_of(empty_database)


async def test_a_contract_that_fails_for_good_is_skipped_by_taking_it_back(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    old = image(tmp_path / "old", table("a"))
    new = image(tmp_path / "new", table("a"), Step("bad", ["SELECT 1/0"], kind="contract"))
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=old)
    with pytest.raises(MigrationError, match="division by zero"):
        await upgrade(settings, versions=new)
    assert await gate(empty_database, old) == "ContractAnnounced"
    assert (await withdraw(settings, "bad", versions=new))[0] == ("bad",)
    assert await gate(empty_database, old) == "SchemaReady"
    assert await gate(empty_database, new) == "SchemaReady"


async def test_without_a_ledger_there_is_nothing_to_take_back(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    taken_back, outcome = await withdraw(owner_settings(empty_database), versions=releases["old"])
    assert (taken_back, outcome.current) == ((), ())
    async with session(empty_database.url_owner) as connection:
        assert await connection.fetchval("SELECT to_regclass('slipway_ledger')") is None


# --- What was looked at is what is run


async def digests(database: TestDatabase, versions: Path) -> dict[str, str]:
    planned = await plan(owner_settings(database), versions=versions)
    return {part.revision.id: part.digest for part in planned.sql if part.digest is not None}


async def test_what_was_planned_is_run(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    settings = owner_settings(empty_database)
    expected = await digests(empty_database, releases["new"])
    assert (await upgrade(settings, versions=releases["old"], expected=expected)).applied == ("a", "b")
    assert (await upgrade(settings, versions=releases["new"], expected=expected)).applied == ("drop_a",)


async def test_a_revision_with_other_sql_is_not_run_and_nothing_before_it(
    empty_database: TestDatabase, releases: dict[str, Path], tmp_path: Path
) -> None:
    expected = await digests(empty_database, releases["old"])
    changed = image(tmp_path / "changed", table("a"), replace(table("b"), sql=["CREATE TABLE b (id text)"]))
    with pytest.raises(MigrationError, match="Revision b isn't what was planned") as failure:
        await upgrade(owner_settings(empty_database), versions=changed, expected=expected)
    assert (failure.value.reason, failure.value.lasting) == ("PlanChanged", False)
    assert await tables_of(empty_database) == set()


async def test_a_revision_that_nobody_looked_at_is_not_run(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    expected = await digests(empty_database, releases["old"])
    with pytest.raises(MigrationError, match="Revision drop_a isn't what was planned"):
        await upgrade(owner_settings(empty_database), versions=releases["new"], expected=expected)


async def test_sql_that_can_not_be_told_is_run_only_where_it_could_not_be_told_before(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    reading = Step("b", body="op.get_bind().exec_driver_sql('SELECT 1').scalar_one()")
    by_chance = Step("c", body="import uuid\nop.execute(f\"SELECT '{uuid.uuid4()}'\")")
    versions = image(tmp_path, table("a"), reading, by_chance)
    expected = await digests(empty_database, versions)
    assert set(expected) == {"a"}
    settings = owner_settings(empty_database)
    with pytest.raises(MigrationError, match="Revision b isn't what was planned"):
        await upgrade(settings, versions=versions, expected={**expected, "b": "0" * 64})
    assert (await upgrade(settings, versions=versions, expected=expected)).applied == ("a", "b", "c")
