"""What the operator reads of the commands: marked lines of plans, of waiting, and of how it ended."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from servers.databases import APP, TestDatabase, superuser_sql
from servers.migration_images import Step, contract, image, owner_settings, session, table, tables_of, value
from servers.postgres import PASSWORD
from servers.waiting import free_port
from slipway.cli import root
from slipway.migrations import announcements, inspection, runner
from slipway.migrations import session as sessions
from slipway.migrations.progress import Waiting, Working
from slipway.migrations.runner import upgrade
from slipway.migrations.session import LOCK_KEY

PREFIX = "slipway.dev/v1 "
SECRET_SQL = "INSERT INTO a SELECT 7 WHERE 'a-secret-value' <> ''"


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image for the commands, which otherwise know the service's own revisions only."""
    folder = image(tmp_path / "versions", table("a"), Step("fill", [SECRET_SQL]), contract("drop_a", "a"))
    for function in (runner.upgrade, announcements.announce, announcements.withdraw, inspection.plan):
        monkeypatch.setitem(function.__kwdefaults__ or {}, "versions", folder)
    return folder


def call(url: str, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(root, ["db", *arguments, "--marked"], env={"SLIPWAY_DATABASE_URL": url, **environment})


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(PREFIX)) for line in text.splitlines() if line.startswith(PREFIX)]


def last(result: Result) -> dict[str, Any]:
    assert result.stdout.splitlines()[-1].startswith(PREFIX)
    return lines(result.stdout)[-1]


def planned(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found = json.loads(zlib.decompress(base64.b64decode("".join(line["data"] for line in lines(result.stdout)))))
    assert isinstance(found, dict)
    return found


@pytest.mark.usefixtures("versions")
def test_a_plan_says_where_and_what_without_values(empty_database: TestDatabase) -> None:
    url = empty_database.url_owner
    document = planned(call(url, "plan"))
    system = asyncio.run(value(url, "SELECT system_identifier::text FROM pg_control_system()"))
    assert document["database"] == {"system": system, "name": empty_database.name}
    assert (document["current"], document["target"], document["partial"], document["foreign"]) == (
        "", "drop_a", False, [],
    )  # fmt: skip
    assert [(each["id"], each["kind"], each["announced"]) for each in document["revisions"]] == [
        ("a", "expand", False),
        ("fill", "expand", False),
        ("drop_a", "contract", False),
    ]
    assert "a-secret-value" not in json.dumps(document)
    assert "INSERT INTO a SELECT 7 WHERE '…' <> '…';" in document["revisions"][1]["sql"]
    assert "a-secret-value" in json.dumps(planned(call(url, "plan", "--literals")))


@pytest.mark.usefixtures("versions")
def test_the_way_from_plan_to_contract_as_the_operator_goes_it(empty_database: TestDatabase) -> None:
    url = empty_database.url_owner
    assert call(url, "upgrade", "--target", "a").exit_code == 0
    document = planned(call(url, "plan", "--patience=60"))
    expect = [f"--expect={each['id']}:{each['sql_digest']}" for each in document["revisions"]]
    assert last(call(url, "withdraw", "--patience=60")) == {
        "type": "done", "current": "a", "applied": [], "held_back": [],
    }  # fmt: skip
    limits = ("--patience=60", "--lock-timeout=3", "--statement-timeout=900", "--budget=30")
    expanded = call(url, "upgrade", "--phase=expand", *limits, *expect)
    assert last(expanded) == {"type": "done", "current": "fill", "applied": ["fill"], "held_back": ["drop_a"]}
    assert [line["type"] for line in lines(expanded.stdout)] == ["working", "working", "done"]
    assert lines(expanded.stdout)[0]["message"] == "Revision fill runs."
    assert lines(expanded.stdout)[1]["message"].startswith("Revision fill is done after ")
    assert "a-secret-value" not in expanded.output
    assert last(call(url, "announce", "--patience=60"))["held_back"] == ["drop_a"]
    assert [each["announced"] for each in planned(call(url, "plan"))["revisions"]] == [True]
    done = last(call(url, "upgrade", "--phase=all", *limits, *expect))
    assert done == {"type": "done", "current": "drop_a", "applied": ["drop_a"], "held_back": []}
    assert planned(call(url, "plan"))["revisions"] == []


def test_stranded_expands_and_their_contracts_are_planned_together(
    empty_database: TestDatabase, versions: Path
) -> None:
    url = empty_database.url_owner
    assert call(url, "upgrade", "--target", "fill").exit_code == 0
    image(versions, table("a"), Step("fill", [SECRET_SQL]), contract("drop_a", "a"), table("z"))
    assert [each["id"] for each in planned(call(url, "plan"))["revisions"]] == ["drop_a", "z"]
    refused = call(url, "upgrade", "--phase=expand")
    assert (refused.exit_code, last(refused)["reason"], last(refused)["lasting"]) == (1, "ReleaseSkipped", True)


def test_two_heads_end_a_plan(empty_database: TestDatabase, versions: Path) -> None:
    (versions / "other.py").write_text("revision = 'other'\ndown_revision = None\n")
    ended = call(empty_database.url_owner, "plan")
    assert (last(ended)["reason"], last(ended)["lasting"]) == ("MultipleHeads", True)


def test_a_revision_that_the_image_does_not_know_ends_a_plan(empty_database: TestDatabase, versions: Path) -> None:
    asyncio.run(upgrade(owner_settings(empty_database), versions=versions))
    for path in versions.glob("*.py"):
        path.unlink()
    image(versions, table("elsewhere"))
    ended = call(empty_database.url_owner, "plan")
    assert (last(ended)["reason"], last(ended)["lasting"]) == ("RevisionUnknown", True)


FAILURES = [
    (["SELECT * FROM nowhere"], "", "StatementFailed", "Revision bad failed: relation"),
    ([], "raise KeyError('a-secret-value')", "MigrationFailed", "Unexpected KeyError"),
    ([], "raise SystemExit('a-secret-value')", "MigrationFailed", "Unexpected SystemExit"),
    (["SELECT pg_sleep(60)"], "", "BudgetExceeded", "The budget of 1 s is used up"),
]


@pytest.mark.parametrize(("sql", "body", "reason", "sentence"), FAILURES)
def test_a_revision_that_fails_says_why_in_the_last_line(
    empty_database: TestDatabase, versions: Path, sql: list[str], body: str, reason: str, sentence: str
) -> None:
    image(versions, table("a"), Step("fill", sql, body))
    (versions / "0002_drop_a.py").unlink()
    ended = call(empty_database.url_owner, "upgrade", "--budget", "1")
    assert ended.exit_code == 1
    assert (last(ended)["type"], last(ended)["reason"], last(ended)["lasting"]) == ("failed", reason, False)
    assert last(ended)["message"].startswith(sentence.replace("bad", "fill"))
    assert "a-secret-value" not in ended.output


URLS = [
    ("postgresql://u:hidden@127.0.0.1:1/d", "DatabaseUnreachable", False),
    ("postgresql://slipway_owner:hidden@HOST/NAME", "LoginRefused", False),
    (f"postgresql://slipway_owner:{PASSWORD}@HOST/no_such_name", "LoginRefused", False),
    (f"postgresql://{APP}:{PASSWORD}@HOST/NAME", "RoleUnfit", True),
    ("mysql://u:hidden@h/d", "LoginRefused", False),
]


@pytest.mark.parametrize(("url", "reason", "lasting"), URLS)
@pytest.mark.usefixtures("versions")
def test_a_login_that_does_not_work_says_why(
    empty_database: TestDatabase, url: str, reason: str, *, lasting: bool
) -> None:
    place = url.replace("HOST", f"127.0.0.1:{empty_database.server.port}").replace("NAME", empty_database.name)
    ended = call(place, "upgrade")
    assert (last(ended)["reason"], last(ended)["lasting"]) == (reason, lasting)
    assert "hidden" not in ended.output
    assert PASSWORD not in ended.output


@pytest.mark.usefixtures("versions")
def test_a_login_whose_folder_cannot_be_read_is_told_by_its_sentence(tmp_path: Path) -> None:
    nowhere = {"SLIPWAY_DATABASE_CREDENTIALS_DIR": str(tmp_path / "nowhere")}
    marked = CliRunner().invoke(root, ["db", "plan", "--marked"], env=nowhere)
    assert (last(marked)["reason"], f"{tmp_path}/nowhere can't be read" in last(marked)["message"]) == (
        "LoginRefused", True,
    )  # fmt: skip
    plain = CliRunner().invoke(root, ["db", "plan"], env=nowhere)
    assert (plain.exit_code, f"Error: {tmp_path}/nowhere can't be read" in plain.stderr) == (1, True)
    assert "ending.py" not in marked.stderr + plain.stderr


@pytest.mark.usefixtures("versions")
def test_a_role_that_is_none_is_unfit(empty_database: TestDatabase) -> None:
    ended = call(empty_database.url_owner, "announce", SLIPWAY_DATABASE_GRANT_TO="nobody_here")
    assert (last(ended)["reason"], last(ended)["lasting"]) == ("RoleUnfit", True)


@pytest.mark.parametrize("value", ["a", "a:12", f"a:{'g' * 64}", ":" + "0" * 64])
def test_an_expectation_that_is_none_is_refused(value: str) -> None:
    refused = CliRunner().invoke(root, ["db", "upgrade", f"--expect={value}"])
    assert (refused.exit_code, "REVISION:SHA256" in refused.stderr) == (2, True)


async def test_where_the_system_identifier_is_kept_secret_the_plan_names_the_database_all_the_same(
    empty_database: TestDatabase, versions: Path
) -> None:
    revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    await superuser_sql(empty_database.server, revoke, database=empty_database.name)
    seen = await inspection.plan(owner_settings(empty_database), versions=versions)
    oid = await value(empty_database.url_owner, "SELECT oid FROM pg_database WHERE datname = current_database()")
    assert (seen.place.system, seen.place.name) == (f"oid-{oid}", empty_database.name)


# --- Waiting


@asynccontextmanager
async def events_of_an_upgrade(
    database: TestDatabase, versions: Path, **changes: Any
) -> AsyncIterator[tuple[asyncio.Queue[Waiting | Working], asyncio.Task[runner.Outcome]]]:
    heard: asyncio.Queue[Waiting | Working] = asyncio.Queue()
    settings = owner_settings(database, **changes)
    task = asyncio.create_task(upgrade(settings, versions=versions, patience=20, listen=heard.put_nowait))
    try:
        yield heard, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def next_waiting(heard: asyncio.Queue[Waiting | Working]) -> Waiting:
    async with asyncio.timeout(20):
        while True:
            event = await heard.get()
            if isinstance(event, Waiting):
                return event


async def test_waiting_for_a_table_names_who_holds_it_and_its_end_is_told(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    versions = image(tmp_path, table("a"), contract("drop_a", "a"))
    await upgrade(owner_settings(empty_database), versions=versions, target="a")
    async with (
        session(empty_database.url_owner) as blocker,
        events_of_an_upgrade(empty_database, versions, migration_lock_timeout=20) as (heard, task),
    ):
        async with blocker.transaction():
            await blocker.execute("SELECT count(*) FROM a WHERE 'a-secret-in-a-query' <> ''")
            waiting = await next_waiting(heard)
            assert waiting.reason == "WaitingForLock"
            pid = blocker.get_server_pid()
            pattern = (
                rf"Revision drop_a waits for a lock that is held by pid {pid} \(user slipway_owner, idle in .*\)\."
            )
            assert re.fullmatch(pattern, waiting.message)
        async with asyncio.timeout(20):
            assert (await task).applied == ("drop_a",)
        left = [heard.get_nowait() for _ in range(heard.qsize())]
    assert isinstance(left[-1], Working)


async def test_standing_back_from_a_table_is_waiting_too(empty_database: TestDatabase, tmp_path: Path) -> None:
    versions = image(tmp_path, table("a"), contract("drop_a", "a"))
    await upgrade(owner_settings(empty_database), versions=versions, target="a")
    async with (
        session(empty_database.url_owner) as blocker,
        blocker.transaction(),
        events_of_an_upgrade(empty_database, versions, migration_lock_timeout=0.3) as (heard, _),
    ):
        await blocker.execute("LOCK TABLE a IN ACCESS SHARE MODE")
        seen: list[str] = []
        while not any("next try in" in message for message in seen):
            seen.append((await next_waiting(heard)).message)
        assert f"got no lock because of pid {blocker.get_server_pid()} " in seen[-1]


async def test_waiting_for_another_runner_names_its_session(empty_database: TestDatabase, versions: Path) -> None:
    async with session(empty_database.url_owner) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        async with events_of_an_upgrade(empty_database, versions) as (heard, task):
            waiting = await next_waiting(heard)
            assert waiting.reason == "WaitingForRunner"
            assert f": pid {other.get_server_pid()} (user slipway_owner, idle, for " in waiting.message
            await other.close()
            async with asyncio.timeout(20):
                await task


async def test_long_waits_are_told_again_with_fresh_facts(
    empty_database: TestDatabase, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.migrations.progress.TELL_EVERY", 0.2)
    async with session(empty_database.url_owner) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        async with events_of_an_upgrade(empty_database, versions) as (heard, _):
            assert "idle, for" in (await next_waiting(heard)).message
            async with other.transaction():
                await other.execute("SELECT 1")
                while "idle in transaction, for" not in (await next_waiting(heard)).message:
                    pass


async def test_waiting_for_a_database_that_is_not_up_is_told(
    empty_database: TestDatabase, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CONNECT_PAUSE", (0.01, 0.02))
    url = f"postgresql://u:hidden@127.0.0.1:{free_port()}/d"
    async with events_of_an_upgrade(empty_database, versions, database_url=url) as (heard, _):
        waiting = await next_waiting(heard)
    assert waiting.reason == "DatabaseUnreachable"
    assert waiting.message.startswith("The database can't be reached: ConnectionRefusedError")
    assert "hidden" not in waiting.message


async def test_after_sigterm_the_last_line_is_marked_too(empty_database: TestDatabase, tmp_path: Path) -> None:
    async with session(empty_database.url_owner) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from slipway.migrations.cli import db; db()", "upgrade", "--marked",
            cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "SLIPWAY_DATABASE_URL": empty_database.url_owner},
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while b'"WaitingForRunner"' not in await process.stdout.readline():
                pass
            process.send_signal(signal.SIGTERM)
            rest = (await process.stdout.read()).decode()
            assert await process.wait() == 128 + signal.SIGTERM
    assert lines(rest)[-1]["type"] == "failed"
    assert rest.splitlines()[-1].startswith(PREFIX)
    assert await tables_of(empty_database) == set()
