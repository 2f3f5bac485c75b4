"""The script for images with plain Alembic, on a real PostgreSQL through their own env.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servers.databases import TestDatabase, create_database, drop_database
from servers.migration_images import Step, contract, ledger_of, session, table, tables_of, value, version_of
from servers.plain_alembic_images import binding, finish, ids, plain_image, script, start, until_said
from servers.postgres import PostgresServer
from servers.waiting import free_port
from slipway.migrations.session import LOCK_KEY

STEPS = {
    "a": table("a"), "b": table("b"), "drop_a": contract("drop_a", "a"), "c": table("c"),
    "drop_b": contract("drop_b", "b"),
}  # fmt: skip
RELEASES = {"one": ["a"], "two": ["a", "b"], "three": ["a", "b", "drop_a"], "four": ["a", "b", "drop_a", "c", "drop_b"]}


# Of env.py's transaction_per_migration: where what is committed is what the test is about.
both_transactions = pytest.mark.parametrize(
    "per_migration", [False, True], ids=["one transaction", "transaction per migration"]
)


def _releases(folder: Path, *, per_migration: bool = False) -> dict[str, Path]:
    """alembic.ini of each release."""
    return {
        name: plain_image(folder / name, *(STEPS[step] for step in steps), per_migration=per_migration)
        for name, steps in RELEASES.items()
    }


@pytest.fixture
def releases(tmp_path: Path) -> dict[str, Path]:
    return _releases(tmp_path)


@pytest.fixture(scope="session")
def template_of_two(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that release two was run on, to clone from."""

    async def build() -> str:
        database = await create_database(postgres)
        run = await script(_releases(tmp_path_factory.mktemp("template"))["two"], database, "upgrade")
        assert run.last["applied"] == RELEASES["two"]
        return database.name

    return asyncio.run(build())


@pytest.fixture
async def database_of_two(postgres: PostgresServer, template_of_two: str) -> AsyncIterator[TestDatabase]:
    clone = await create_database(postgres, template=template_of_two)
    yield clone
    await drop_database(clone)


@both_transactions
async def test_a_chain_is_planned_run_and_passed_by_the_gate(
    empty_database: TestDatabase, tmp_path: Path, *, per_migration: bool
) -> None:
    config = _releases(tmp_path, per_migration=per_migration)["four"]
    plan = (await script(config, empty_database, "plan")).plan
    assert ids(plan["revisions"]) == ["a", "b", "drop_a", "c", "drop_b"]
    assert (plan["current"], plan["target"], plan["partial"], plan["foreign"]) == ("", "drop_b", False, [])
    assert plan["database"]["name"] == empty_database.name
    assert plan["database"]["system"].isdecimal()
    assert "CREATE TABLE a (id bigint)" in plan["revisions"][0]["sql"]
    assert await value(empty_database.url_owner, "SELECT to_regclass('alembic_version')") is None

    run = await script(config, empty_database, "upgrade", "--phase=expand")
    assert (run.code, run.last) == (
        0,
        {"type": "done", "current": "drop_b", "applied": ids(plan["revisions"]), "held_back": []},
    )
    assert await tables_of(empty_database) == {"c"}
    assert await version_of(empty_database) == ["drop_b"]
    assert await ledger_of(empty_database) == [
        ("a", "expand", False, True),
        ("b", "expand", False, True),
        ("drop_a", "contract", True, True),
        ("c", "expand", False, True),
        ("drop_b", "contract", True, True),
    ]
    assert (await script(config, empty_database, "wait")).code == 0
    assert (await script(config, empty_database, "upgrade")).last["applied"] == []


async def test_contracts_are_held_back_announced_and_then_run(
    database_of_two: TestDatabase, releases: dict[str, Path]
) -> None:
    held = await script(releases["three"], database_of_two, "upgrade", "--phase=expand")
    assert (held.last["applied"], held.last["held_back"]) == ([], ["drop_a"])
    assert (await script(releases["two"], database_of_two, "wait")).code == 0

    announced = await script(releases["three"], database_of_two, "announce")
    assert announced.last == {"type": "done", "current": "b", "applied": [], "held_back": ["drop_a"]}
    refused = await script(releases["two"], database_of_two, "wait")
    assert (refused.code, refused.last["reason"], refused.last["lasting"]) == (1, "ContractAnnounced", True)
    assert (await script(releases["three"], database_of_two, "wait")).code == 0
    assert (await script(releases["three"], database_of_two, "plan")).plan["revisions"][0]["announced"]
    assert (await script(releases["two"], database_of_two, "plan")).plan["foreign"] == ["drop_a"]

    assert (await script(releases["three"], database_of_two, "upgrade")).last["applied"] == ["drop_a"]
    assert await tables_of(database_of_two) == {"b"}
    assert (await script(releases["two"], database_of_two, "wait")).last["reason"] == "ContractApplied"
    assert (await script(releases["two"], database_of_two, "plan")).last["reason"] == "RevisionUnknown"


async def test_an_announcement_of_another_image_is_withdrawn_and_ones_own_is_kept(
    database_of_two: TestDatabase, releases: dict[str, Path]
) -> None:
    await script(releases["three"], database_of_two, "announce")
    assert (await script(releases["three"], database_of_two, "withdraw")).last["held_back"] == ["drop_a"]
    assert (await script(releases["two"], database_of_two, "withdraw")).last["held_back"] == []
    assert [row[0] for row in await ledger_of(database_of_two)] == ["a", "b"]
    assert (await script(releases["two"], database_of_two, "wait")).code == 0


async def test_a_release_that_skips_one_with_a_contract_is_refused(
    database_of_two: TestDatabase, releases: dict[str, Path]
) -> None:
    run = await script(releases["four"], database_of_two, "upgrade", "--phase=expand")
    assert (run.code, run.last["reason"], run.last["lasting"]) == (1, "ReleaseSkipped", True)
    assert await tables_of(database_of_two) == {"a", "b"}


async def test_a_database_of_another_image_is_refused_and_left_as_it_was(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    async with session(empty_database.url_owner) as connection:
        await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        await connection.execute("INSERT INTO alembic_version VALUES ('elsewhere')")
    for command in ("plan", "upgrade", "announce"):
        assert (await script(releases["two"], empty_database, command)).last["reason"] == "RevisionUnknown"
    assert await value(empty_database.url_owner, "SELECT to_regclass('slipway_ledger')") is None


async def test_several_heads_and_unreadable_revisions_are_told(empty_database: TestDatabase, tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"), table("b"))
    (tmp_path / "image/versions/other.py").write_text(table("other").module("a"))
    run = await script(config, empty_database, "plan")
    assert (run.last["reason"], run.last["lasting"]) == ("MultipleHeads", True)
    assert "b, other" in run.last["message"]
    merge = tmp_path / "image/versions/merge.py"
    merge.write_text(Step("merge").module("b").replace("= 'b'", "= ('b', 'other')"))
    merged = (await script(config, empty_database, "plan")).plan
    assert (sorted(ids(merged["revisions"])), merged["target"]) == (["a", "b", "merge", "other"], "merge")
    merge.unlink()
    (tmp_path / "image/versions/other.py").write_text(Step("other", kind="both").module("b"))
    assert (await script(config, empty_database, "wait")).last["reason"] == "RevisionsUnreadable"
    (tmp_path / "image/versions/other.py").write_text("raise RuntimeError('a-secret')")
    broken = await script(config, empty_database, "upgrade")
    assert (broken.last["reason"], broken.last["lasting"]) == ("RevisionsUnreadable", True)
    assert "RuntimeError at other.py:1" in broken.last["message"]
    assert (await script(tmp_path / "nowhere.ini", empty_database, "plan")).last["reason"] == "RevisionsUnreadable"


async def test_a_database_that_plain_alembic_made_is_adopted(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    async with session(empty_database.url_owner) as connection:
        await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        await connection.execute("CREATE TABLE a (id bigint); INSERT INTO alembic_version VALUES ('a')")
    late = await script(releases["one"], empty_database, "wait", "--timeout=0.1")
    assert (late.code, late.last["reason"]) == (1, "LedgerMissing")
    assert (await script(releases["two"], empty_database, "upgrade")).last["applied"] == ["b"]
    assert await ledger_of(empty_database) == [("a", "expand", False, True), ("b", "expand", False, True)]


async def test_the_gate_sees_the_ledger_by_a_login_without_any_right_of_its_own(
    database_of_two: TestDatabase, releases: dict[str, Path], tmp_path: Path
) -> None:
    service = binding(tmp_path / "service", database_of_two, username=database_of_two.app.username)
    assert (await script(releases["two"], database_of_two, "wait", login=service)).code == 0
    refused = await script(releases["three"], database_of_two, "upgrade", login=service)
    assert (refused.last["reason"], refused.last["lasting"]) == ("RoleUnfit", True)


async def test_a_waiting_gate_opens_when_the_schema_is_there(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    gate = await start(releases["one"], empty_database, "wait")
    read = await until_said(gate, "LedgerMissing")
    await script(releases["one"], empty_database, "upgrade")
    run = await finish(gate, read)
    assert (run.code, run.output.splitlines()[-1]) == (0, "The schema has what this image needs.")


@both_transactions
async def test_a_failed_revision_leaves_nothing_and_tells_no_row(
    empty_database: TestDatabase, tmp_path: Path, *, per_migration: bool
) -> None:
    bad = Step("bad", ["CREATE TABLE half (id bigint)", "INSERT INTO nowhere VALUES ('a-secret-in-a-statement')"])
    run = await script(plain_image(tmp_path, table("a"), bad, per_migration=per_migration), empty_database, "upgrade")
    assert (run.code, run.last["reason"], run.last["lasting"]) == (1, "StatementFailed", False)
    assert 'Revision bad failed: relation "nowhere" does not exist (42P01)' in run.last["message"]
    assert "a-secret" not in run.output + run.errors
    assert await tables_of(empty_database) == {"a"}
    assert await ledger_of(empty_database) == [("a", "expand", False, True)]
    mended = plain_image(
        tmp_path, table("a"), Step("bad", ["CREATE TABLE half (id bigint)"]), per_migration=per_migration
    )
    assert (await script(mended, empty_database, "upgrade")).last["applied"] == ["bad"]


async def test_a_value_that_does_not_fit_is_not_told(empty_database: TestDatabase, tmp_path: Path) -> None:
    bad = Step("bad", ["INSERT INTO a SELECT 'a-secret-in-a-row'::text::bigint"])
    run = await script(plain_image(tmp_path, table("a"), bad, per_migration=True), empty_database, "upgrade")
    assert "(22P02)" in run.last["message"]
    assert "a-secret" not in run.output + run.errors


async def test_only_the_sql_that_was_planned_is_run(empty_database: TestDatabase, tmp_path: Path) -> None:
    reads = Step("reads", body="op.get_bind().execute(__import__('sqlalchemy').text('SELECT 1')).scalar_one()")
    config = plain_image(tmp_path, table("a"), Step("fill", ["INSERT INTO a VALUES ('7')"]), reads)
    planned = (await script(config, empty_database, "plan")).plan
    assert planned["partial"]
    assert planned["revisions"][2]["sql"] is planned["revisions"][2]["sql_digest"] is None
    assert "INSERT INTO a VALUES ('…')" in planned["revisions"][1]["sql"]
    shown = (await script(config, empty_database, "plan", "--literals")).plan["revisions"][1]
    assert "INSERT INTO a VALUES ('7')" in shown["sql"]
    assert hashlib.sha256(shown["sql"].encode()).hexdigest() == planned["revisions"][1]["sql_digest"]

    named = [f"--expect={one['id']}:{one['sql_digest']}" for one in planned["revisions"] if one["sql_digest"]]
    for wrong in (named[:1], [named[0], f"--expect=fill:{'0' * 64}"]):
        run = await script(config, empty_database, "upgrade", *wrong)
        assert (run.last["reason"], run.last["lasting"]) == ("PlanChanged", False)
    assert await tables_of(empty_database) == set()
    assert (await script(config, empty_database, "upgrade", *named)).last["current"] == "reads"


async def test_the_outside_image_of_the_cluster_tests_is_planned_and_run(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    folder = Path(__file__).parents[2] / "k8s-tests" / "foreign_alembic"
    config, login = folder / "alembic.ini", binding(tmp_path, empty_database)
    planned = (await script(config, empty_database, "plan", login=login)).plan["revisions"]
    assert [(one["id"], one["kind"]) for one in planned] == [
        ("0001", "expand"),
        ("0002", "expand"),
        ("0003", "contract"),
    ]
    run = await script(config, empty_database, "upgrade", "--phase=expand", login=login)
    assert run.last["applied"] == ["0001", "0002", "0003"]
    assert (await script(config, empty_database, "wait", login=login)).code == 0


# --- Locks, runners that meet, runs that end early


async def test_a_lock_that_someone_holds_is_tried_again_and_its_holder_is_named(
    database_of_two: TestDatabase, tmp_path: Path
) -> None:
    config = plain_image(tmp_path, table("a"), table("b"), Step("widen", ["ALTER TABLE a ADD COLUMN extra text"]))
    async with session(database_of_two.url_owner) as blocker, blocker.transaction():
        await blocker.execute("SELECT count(*) FROM a WHERE 'a-secret-in-a-query' <> ''")
        process = await start(config, database_of_two, "upgrade", "--marked", "--lock-timeout=1")
        read = await until_said(process, "WaitingForLock")
        pid = blocker.get_server_pid()
    run = await finish(process, read)
    assert (run.code, run.last["applied"]) == (0, ["widen"])
    assert f"pid {pid} (user slipway_owner, idle in transaction" in run.said("WaitingForLock")[0]
    assert "a-secret" not in run.output


async def test_a_concurrent_build_waits_for_an_old_transaction_longer_than_for_a_lock(
    database_of_two: TestDatabase, tmp_path: Path
) -> None:
    build = Step("build", body="with op.get_context().autocommit_block():\n"
                               "    op.create_index('a_id', 'a', ['id'], postgresql_concurrently=True)")  # fmt: skip
    async with session(database_of_two.url_owner) as old, old.transaction():
        await old.execute("INSERT INTO a VALUES (1)")
        process = await start(
            plain_image(tmp_path, table("a"), table("b"), build), database_of_two, "upgrade", "--marked",
            "--lock-timeout=0.1", "--statement-timeout=0.2",
        )  # fmt: skip
        read = await until_said(process, "Revision build runs")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 1.5)  # several times the limits
    run = await finish(process, read)
    assert (run.code, run.last["applied"], run.said("WaitingForLock")) == (0, ["build"], [])
    assert await value(database_of_two.url_owner, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_id'::regclass")


async def test_two_runners_take_turns(empty_database: TestDatabase, releases: dict[str, Path]) -> None:
    # Without contracts: those of an empty database run unannounced, and whoever comes in between refuses them.
    runs = await asyncio.gather(*(script(releases["two"], empty_database, "upgrade") for _ in range(2)))
    assert [run.code for run in runs] == [0, 0], runs
    assert sorted(name for run in runs for name in run.last["applied"]) == sorted(RELEASES["two"])
    assert [row[0] for row in await ledger_of(empty_database)] == RELEASES["two"]


async def test_a_runner_waits_outside_transactions_until_the_other_is_gone_or_its_budget_is(
    empty_database: TestDatabase, releases: dict[str, Path]
) -> None:
    async with session(empty_database.url_owner) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        late = await script(releases["one"], empty_database, "upgrade", "--budget=1.5")
        assert (late.code, late.last["reason"]) == (1, "BudgetExceeded")
        assert late.said("WaitingForRunner")
        process = await start(releases["one"], empty_database, "upgrade", "--marked")
        read = await until_said(process, "WaitingForRunner")
    assert (await finish(process, read)).last["applied"] == ["a"]


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_a_run_that_is_ended_leaves_what_was_committed_and_the_next_goes_on(
    empty_database: TestDatabase, tmp_path: Path, end: str
) -> None:
    slow = Step("slow", ["CREATE TABLE half (id bigint)", "SELECT pg_sleep(60)"])
    process = await start(plain_image(tmp_path / "slow", table("a"), slow), empty_database, "upgrade", "--marked")
    read = await until_said(process, "Revision slow runs")
    getattr(process, end)()
    run = await finish(process, read)
    assert run.code == (-9 if end == "kill" else 143)
    assert end == "kill" or "SIGTERM" in run.last["message"]
    assert (await version_of(empty_database), await tables_of(empty_database)) == (["a"], {"a"})
    assert [row[0] for row in await ledger_of(empty_database)] == ["a"]
    mended = plain_image(tmp_path / "mended", table("a"), table("slow"))
    assert (await script(mended, empty_database, "upgrade")).last["applied"] == ["slow"]


async def test_the_budget_ends_a_statement_too(empty_database: TestDatabase, tmp_path: Path) -> None:
    config = plain_image(tmp_path, Step("slow", ["SELECT pg_sleep(60)"]))
    run = await script(config, empty_database, "upgrade", "--budget=2")
    assert (run.code, run.last["reason"]) == (1, "BudgetExceeded")
    run = await script(config, empty_database, "upgrade", "--statement-timeout=0.3")
    assert "canceling statement due to statement timeout (57014)" in run.last["message"]


# --- Logins


async def test_a_wrong_password_is_told_at_once_and_not_in_full(empty_database: TestDatabase, tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    login = binding(tmp_path / "wrong", empty_database, password="not%the:password@")
    run = await script(config, empty_database, "plan", "--patience=60", login=login)
    assert (run.code, run.last["reason"]) == (1, "LoginRefused")
    assert "not%the" not in run.output + run.errors
    assert "not%25the" not in run.output + run.errors


async def test_a_server_that_is_not_up_is_waited_for_as_long_as_patience_lasts(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    login = binding(tmp_path / "away", empty_database, port="1")
    run = await script(config, empty_database, "plan", "--patience=1", login=login)
    assert (run.code, run.last["reason"], run.last["lasting"]) == (1, "DatabaseUnreachable", False)
    assert run.said("DatabaseUnreachable")


async def test_a_server_that_comes_up_meanwhile_is_used(empty_database: TestDatabase, tmp_path: Path) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = empty_database.server
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    port = free_port()
    login = binding(tmp_path / "away", empty_database, port=str(port))
    config = plain_image(tmp_path / "image", table("a"))
    process = await start(config, empty_database, "upgrade", "--marked", "--patience=30", login=login)
    read = await until_said(process, "DatabaseUnreachable")
    async with await asyncio.start_server(forward, "127.0.0.1", port):
        run = await finish(process, read)
    assert run.last["applied"] == ["a"]


async def test_an_env_py_that_fails_is_named_without_its_words(empty_database: TestDatabase, tmp_path: Path) -> None:
    config = plain_image(tmp_path, table("a"))
    (tmp_path / "env.py").write_text("raise RuntimeError('a-secret')\n")
    for command in ("plan", "wait"):
        run = await script(config, empty_database, command)
        assert run.last["reason"] == "MigrationFailed"
        assert "RuntimeError at env.py:1" in run.last["message"]
        assert "a-secret" not in run.output + run.errors
