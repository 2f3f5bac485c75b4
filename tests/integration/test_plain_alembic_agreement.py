"""`slipway db` and the script for plain Alembic see a database alike, and each continues what the other began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plain_masking import masked
from servers.databases import TestDatabase, superuser_sql
from servers.migration_images import Step, contract, ledger_of, owner_settings, table, tables_of, value
from servers.plain_alembic_images import ids, plain_image, script
from slipway.migrations import announcements, inspection
from slipway.migrations.errors import MigrationError
from slipway.migrations.marked import plan_document
from slipway.migrations.masking import mask_literals
from slipway.migrations.runner import upgrade

FILL = Step("fill", ["INSERT INTO b VALUES ('7'::text::bigint)", "COMMENT ON TABLE b IS 'it''s b'"])
STEPS = (table("a"), table("b"), FILL, contract("drop_a", "a"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One chain for both: the script's alembic.ini, beside the revisions."""
    return plain_image(tmp_path, *STEPS, per_migration=True)


async def _agreed(database: TestDatabase, config: Path) -> dict[str, Any]:
    """The plan, as both tell it."""
    ours = plan_document(
        await inspection.plan(owner_settings(database), versions=config.parent / "versions"), literals=False
    )
    assert (await script(config, database, "plan")).plan == ours
    return ours


async def _plans_agree(database: TestDatabase, config: Path) -> list[str]:
    """The pending revisions, as both tell them."""
    return ids((await _agreed(database, config))["revisions"])


async def test_what_slipway_began_the_script_continues(empty_database: TestDatabase, config: Path) -> None:
    versions = config.parent / "versions"
    assert await _plans_agree(empty_database, config) == ["a", "b", "fill", "drop_a"]
    await upgrade(owner_settings(empty_database), versions=versions, target="b")
    assert await _plans_agree(empty_database, config) == ["fill", "drop_a"]
    run = await script(config, empty_database, "upgrade", "--phase=expand")
    assert (run.last["applied"], run.last["held_back"]) == (["fill"], ["drop_a"])
    await announcements.announce(owner_settings(empty_database), versions=versions)
    assert await _plans_agree(empty_database, config) == ["drop_a"]
    assert (await script(config, empty_database, "upgrade")).last["applied"] == ["drop_a"]
    assert await _plans_agree(empty_database, config) == []
    assert await tables_of(empty_database) == {"b"}


async def test_what_the_script_began_slipway_continues(empty_database: TestDatabase, config: Path) -> None:
    versions = config.parent / "versions"
    older = plain_image(config.parent / "older", *STEPS[:2])
    await script(older, empty_database, "upgrade")
    assert await _plans_agree(empty_database, config) == ["fill", "drop_a"]
    assert (await upgrade(owner_settings(empty_database), versions=versions, phase="expand")).applied == ("fill",)
    await script(config, empty_database, "announce")
    assert await _plans_agree(empty_database, config) == ["drop_a"]
    assert (await upgrade(owner_settings(empty_database), versions=versions)).applied == ("drop_a",)
    assert await ledger_of(empty_database) == [
        ("a", "expand", False, True),
        ("b", "expand", False, True),
        ("fill", "expand", False, True),
        ("drop_a", "contract", True, True),
    ]


async def test_both_refuse_an_image_that_an_applied_contract_broke(empty_database: TestDatabase, config: Path) -> None:
    older = plain_image(config.parent / "older", *STEPS[:2])
    await script(older, empty_database, "upgrade")
    await script(config, empty_database, "upgrade", "--phase=expand")
    assert (await script(older, empty_database, "plan")).plan["revisions"] == []
    await script(config, empty_database, "announce")
    assert (await script(config, empty_database, "upgrade")).last["applied"] == ["drop_a"]
    run = await script(older, empty_database, "plan")
    with pytest.raises(MigrationError, match="can't work with the schema any more") as raised:
        await inspection.plan(owner_settings(empty_database), versions=older.parent / "versions")
    assert (run.last["reason"], run.last["lasting"]) == (raised.value.reason, raised.value.lasting)


async def test_a_server_that_hides_its_identifier_is_told_alike(empty_database: TestDatabase, config: Path) -> None:
    hide = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    await superuser_sql(empty_database.server, hide, database=empty_database.name)
    place = (await _agreed(empty_database, config))["database"]
    query = "SELECT 'oid-' || oid FROM pg_database WHERE datname = current_database()"
    assert place["system"] == await value(empty_database.url_owner, query)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO a VALUES ('x', E'it\\'s', $$two; 'words'$$, 3); CREATE TABLE b (c text DEFAULT 'shown')",
        "WITH old AS (SELECT 'x') DELETE FROM a; SELECT 'shown' -- 'a comment'; INSERT",
        "CREATE ROLE app PASSWORD 'x'; COMMENT ON TABLE a IS 'it''s; shown'; UPDATE \"it's\" SET b = U&'x'",
        "INSERT INTO a VALUES ('x') /* 'a comment' without end; INSERT",
        "INSERT INTO a VALUES ('x', $b$ words without end; 'x'",
    ],
)
def test_strings_are_masked_alike(sql: str) -> None:
    assert masked(sql) == mask_literals(sql)
