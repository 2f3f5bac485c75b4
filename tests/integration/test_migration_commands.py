"""The commands `slipway db …` as a person or a container calls them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from servers.databases import APP, TestDatabase
from servers.migration_images import Step, contract, image, table
from servers.postgres import PASSWORD
from servers.waiting import free_port
from slipway.cli import root
from slipway.migrations import inspection, runner, wait
from slipway.migrations.script import read_chain


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image for the commands, which otherwise know the service's own revisions only."""
    reading = Step("reading", body="print(op.get_bind().execute(None).scalar_one())")
    folder = image(tmp_path / "versions", table("a"), table("b"), reading, contract("drop_a", "a"))
    for function in (runner.upgrade, runner.stamp, inspection.inspect, inspection.plan, wait.wait_for_schema):
        monkeypatch.setitem(function.__kwdefaults__ or {}, "versions", folder)
    monkeypatch.setattr(inspection.inspect, "__defaults__", (folder,))
    return folder


def call(url: str, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(root, ["db", *arguments], env={"SLIPWAY_DATABASE_URL": url, **environment})


def test_a_database_is_brought_up_and_looked_at(empty_database: TestDatabase) -> None:
    head = read_chain().head
    url = empty_database.url_owner
    done = call(url, "upgrade", SLIPWAY_DATABASE_GRANT_TO=APP)
    assert done.exit_code == 0, done.output
    assert re.fullmatch(r"(\S+  (expand|contract)  .+  \(\d+\.\d\d s\)\n)+", done.stdout)
    assert call(url, "upgrade").stdout == "Nothing to do.\n"
    assert call(empty_database.url_app, "wait").stdout == "The schema has what this image needs.\n"
    seen = call(empty_database.url_app, "current").stdout.splitlines()
    assert seen[0] == f"current  {head}"
    assert seen[3] == "gate     open: The schema has what this image needs."
    assert "ledger   0001  expand  applied" in seen


def test_contracts_are_left_for_later_and_said(empty_database: TestDatabase, versions: Path) -> None:
    image(versions, table("a"), table("b"), Step("reading"), contract("drop_a", "a"))
    url = empty_database.url_owner
    assert call(url, "upgrade", "--target", "a").exit_code == 0
    assert call(url, "upgrade", "--phase", "expand").stdout.splitlines()[-1] == "Left for later: drop_a."
    assert call(url, "current").stdout.splitlines()[0] == "current  reading"
    assert "drop_a  contract" in call(url, "upgrade").stdout
    assert call(url, "stamp", "b").stdout == "The database is said to be at b.\n"
    assert call(url, "current").stdout.splitlines()[0] == "current  b"


@pytest.mark.usefixtures("versions")
def test_a_plan_shows_sql_and_says_what_can_not_be_told(empty_database: TestDatabase) -> None:
    url = empty_database.url_owner
    text = call(url, "plan").stdout
    assert "-- from an empty database to drop_a" in text
    assert "CREATE TABLE a (id bigint);" in text
    assert "-- PARTIAL: this revision reads the database, its SQL can't be told" in text
    document = json.loads(call(url, "plan", "--json").stdout)
    assert (document["current"], document["target"], document["partial"]) == ([], "drop_a", True)
    assert [(each["id"], each["kind"], each["sql"] is None) for each in document["revisions"]] == [
        ("a", "expand", False),
        ("b", "expand", False),
        ("reading", "expand", True),
        ("drop_a", "contract", False),
    ]
    assert "DROP TABLE a;" in document["sql"]
    assert call(url, "current").stdout.splitlines()[0] == "current  nothing yet"


@pytest.mark.usefixtures("versions")
def test_a_plan_starts_where_the_database_is(empty_database: TestDatabase) -> None:
    url = empty_database.url_owner
    assert call(url, "stamp", "reading").exit_code == 0
    document = json.loads(call(url, "plan", "--json").stdout)
    assert (document["current"], document["partial"]) == (["reading"], False)
    assert document["sql"].split("\n\n")[1:3] == ["-- Running upgrade reading -> drop_a", "DROP TABLE a;"]
    held_back = json.loads(call(url, "plan", "--json", "--phase", "expand").stdout)
    assert (held_back["revisions"], held_back["held_back"]) == ([], ["drop_a"])
    assert call(url, "plan", "--target", "b").stdout.splitlines()[-1] == "-- nothing to do"


def test_the_services_own_plan_is_whole(empty_database: TestDatabase) -> None:
    document = json.loads(call(empty_database.url_owner, "plan", "--json").stdout)
    assert document["partial"] is False
    assert "CREATE TABLE users (" in document["sql"]


FAULTS = [
    (("upgrade",), {"SLIPWAY_DATABASE_URL": "mysql://x"}, "must start with postgresql://"),
    (
        ("upgrade",),
        {"SLIPWAY_DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/d"},
        "The database: ConnectionRefusedError",
    ),
    (("upgrade", "--budget", "0"), {}, "SLIPWAY_MIGRATION_BUDGET"),
    (("upgrade", "--target", "nowhere"), {}, "no revision 'nowhere'"),
    (("upgrade",), {"SLIPWAY_DATABASE_GRANT_TO": "nobody_here"}, "CREATE ROLE nobody_here"),
    (("upgrade",), {"SLIPWAY_PORT": "x"}, "SLIPWAY_PORT"),
    (
        ("current",),
        {"SLIPWAY_DATABASE_URL": "postgresql://slipway_owner:hidden@HOST/d"},
        "password authentication failed",
    ),
    (("wait", "--timeout", "0"), {}, "Not ready after 0 s"),
]


@pytest.mark.parametrize(("arguments", "environment", "sentence"), FAULTS)
def test_a_fault_is_one_clear_message_on_stderr(
    empty_database: TestDatabase, arguments: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    host = f"127.0.0.1:{empty_database.server.port}"
    changes = {name: content.replace("HOST", host) for name, content in environment.items()}
    done = call(empty_database.url_owner, *arguments, **changes)
    assert done.exit_code == 1
    assert re.search(sentence, done.stderr)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr
    assert PASSWORD not in done.stderr


def test_without_a_database_the_message_names_the_setting() -> None:
    done = CliRunner().invoke(root, ["db", "upgrade"])
    assert (done.exit_code, "SLIPWAY_DATABASE_URL" in done.stderr) == (1, True)


async def test_sigterm_ends_a_wait_at_once(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from slipway.migrations.cli import db; db()",
        "wait",
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "SLIPWAY_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{free_port()}/d"},
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert line.startswith(b"Waiting: The database can't be reached")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 128 + signal.SIGTERM
