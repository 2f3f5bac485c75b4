"""A contract that was sent for, and lands only after its announcement was taken back: it breaks nobody.

By the service's own commands, and by the script for images with plain Alembic.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from servers.databases import TestDatabase
from servers.migration_images import contract, image, owner_settings, table, tables_of
from servers.plain_alembic_images import finish, plain_image, script, start
from slipway.cli import root
from slipway.migrations import plan, runner
from slipway.migrations.announcements import announce, withdraw
from slipway.migrations.errors import MigrationError
from slipway.migrations.runner import upgrade

OLD = [table("a"), table("b")]
NEW = [*OLD, contract("drop_a", "a")]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return image(tmp_path / "old", *OLD)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return image(tmp_path / "new", *NEW)


@pytest.fixture
async def withdrawn(empty_database: TestDatabase, old: Path, new: Path) -> TestDatabase:
    """Where the contract was announced, and the image before it took that back."""
    settings = owner_settings(empty_database)
    await upgrade(settings, versions=old)
    await announce(settings, versions=new)
    assert (await withdraw(settings, versions=old))[0] == ("drop_a",)
    return empty_database


async def test_a_contract_that_lands_after_the_withdrawal_refuses_until_it_is_announced_again(
    withdrawn: TestDatabase, new: Path
) -> None:
    settings = owner_settings(withdrawn)
    with pytest.raises(MigrationError, match="Contract drop_a isn't announced any more") as failure:
        await upgrade(settings, versions=new, phase="announced")
    assert (failure.value.reason, failure.value.lasting) == ("AnnouncementGone", False)
    assert await tables_of(withdrawn) == {"a", "b"}
    await announce(settings, versions=new)
    assert (await upgrade(settings, versions=new, phase="announced")).applied == ("drop_a",)


async def test_without_the_look_at_the_announcement_it_drops_what_others_use(
    withdrawn: TestDatabase, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(plan, "_refuse_unannounced", lambda *_: None)
    await upgrade(owner_settings(withdrawn), versions=new, phase="announced")
    assert await tables_of(withdrawn) == {"b"}


async def test_an_empty_database_has_nobody_to_break_and_needs_no_announcement(
    empty_database: TestDatabase, new: Path
) -> None:
    done = await upgrade(owner_settings(empty_database), versions=new, phase="announced")
    assert done.applied == ("a", "b", "drop_a")


def test_the_operators_command_refuses_and_the_same_by_a_person_runs(
    withdrawn: TestDatabase, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.upgrade.__kwdefaults__ or {}, "versions", new)
    environment = {"SLIPWAY_DATABASE_URL": withdrawn.url_owner}
    sent = CliRunner().invoke(root, ["db", "upgrade", "--phase=all", "--marked"], env=environment)
    last = json.loads(sent.stdout.splitlines()[-1].removeprefix("slipway.dev/v1 "))
    assert (sent.exit_code, last["reason"], last["lasting"]) == (1, "AnnouncementGone", False)
    by_hand = CliRunner().invoke(root, ["db", "upgrade", "--phase=all"], env=environment)
    assert (by_hand.exit_code, "drop_a  contract" in by_hand.output) == (0, True)


# --- The script for plain Alembic


async def test_the_script_refuses_it_too_and_runs_it_once_it_is_announced_again(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    before, after = plain_image(tmp_path / "one", *OLD), plain_image(tmp_path / "two", *NEW)
    for config, command in ((before, "upgrade"), (after, "announce"), (before, "withdraw")):
        assert (await script(config, empty_database, command)).code == 0
    late = await script(after, empty_database, "upgrade", "--phase=all")
    assert (late.code, late.last["reason"], late.last["lasting"]) == (1, "AnnouncementGone", False)
    assert await tables_of(empty_database) == {"a", "b"}
    await script(after, empty_database, "announce")
    assert (await script(after, empty_database, "upgrade", "--phase=all")).last["applied"] == ["drop_a"]


async def test_the_script_needs_no_announcement_on_an_empty_database(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    run = await script(plain_image(tmp_path, *NEW), empty_database, "upgrade", "--phase=all")
    assert (run.code, run.last["applied"]) == (0, ["a", "b", "drop_a"])


async def test_a_person_who_runs_all_by_the_script_has_decided(empty_database: TestDatabase, tmp_path: Path) -> None:
    """And the control: only the operator's mark makes it look."""
    before, after = plain_image(tmp_path / "one", *OLD), plain_image(tmp_path / "two", *NEW)
    await script(before, empty_database, "upgrade")
    by_hand = await finish(await start(after, empty_database, "upgrade", "--phase=all"))
    assert by_hand.code == 0, by_hand.output
    assert await tables_of(empty_database) == {"b"}
