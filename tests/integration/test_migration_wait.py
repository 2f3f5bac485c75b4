"""`slipway db wait`: what holds a pod back, what lets it go, and what it says meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from servers.databases import APP, TestDatabase
from servers.migration_images import contract, image, owner_settings, session, table
from servers.postgres import PASSWORD
from servers.waiting import free_port, until
from slipway.migrations import wait
from slipway.migrations.errors import MigrationError
from slipway.migrations.gate import GateVerdict, look_at_gate
from slipway.migrations.runner import upgrade
from slipway.migrations.wait import wait_for_schema
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import LoginError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "LONGEST_PAUSE", 0.1)


Waiting = Callable[[Settings, Path], tuple["asyncio.Task[GateVerdict]", list[str]]]


@pytest.fixture
def waiting() -> Waiting:
    def start(settings: Settings, versions: Path) -> tuple[asyncio.Task[GateVerdict], list[str]]:
        lines: list[str] = []
        return asyncio.create_task(wait_for_schema(settings, versions=versions, report=lines.append)), lines

    return start


def service(database: TestDatabase) -> Settings:
    return Settings(database_url=database.url_app, database_connect_timeout=1)  # type: ignore[arg-type]


def migration(database: TestDatabase) -> Settings:
    return owner_settings(database, database_grant_to=APP)


async def test_a_pod_waits_with_the_services_login_from_the_empty_database_on(
    empty_database: TestDatabase, tmp_path: Path, waiting: Waiting
) -> None:
    versions = image(tmp_path, table("a"), table("b"))
    pod, lines = waiting(service(empty_database), versions)
    await until(lambda: lines)
    await upgrade(migration(empty_database), versions=versions, target="a")
    await until(lambda: len(lines) == 2)
    await upgrade(migration(empty_database), versions=versions)
    assert (await asyncio.wait_for(pod, 5)).reason == "SchemaReady"
    assert [line.rsplit("(", 1)[1] for line in lines] == ["LedgerMissing)", "RevisionMissing)"]
    assert "Revision b, which this image needs" in lines[1]


async def test_a_ledger_that_the_login_may_not_read_yet_is_waited_for(
    empty_database: TestDatabase, tmp_path: Path, waiting: Waiting
) -> None:
    versions = image(tmp_path, table("a"))
    await upgrade(owner_settings(empty_database), versions=versions)
    pod, lines = waiting(service(empty_database), versions)
    await until(lambda: lines)
    assert "LedgerMissing" in lines[0]
    await upgrade(migration(empty_database), versions=versions)
    assert (await asyncio.wait_for(pod, 5)).is_open


@pytest.mark.parametrize(("phase", "reason"), [("announced", "ContractAnnounced"), ("applied", "ContractApplied")])
async def test_code_that_a_contract_breaks_refuses_with_a_sentence(
    empty_database: TestDatabase, tmp_path: Path, phase: str, reason: str
) -> None:
    old, new = image(tmp_path / "old", table("a")), image(tmp_path / "new", table("a"), contract("drop_a", "a"))
    await upgrade(migration(empty_database), versions=old)
    if phase == "applied":
        await upgrade(migration(empty_database), versions=new)
    else:
        async with session(empty_database.url_owner) as owner:
            await owner.execute(
                "INSERT INTO slipway_ledger (revision, kind, announced_at) VALUES ('drop_a', 'contract', now())"
            )
    with pytest.raises(MigrationError, match=rf"Contract drop_a of a later release .*\({reason}\)"):
        await wait_for_schema(service(empty_database), versions=old, report=lambda _: None)


async def test_a_database_that_is_away_and_credentials_that_change_are_waited_for_without_a_secret_in_the_text(
    empty_database: TestDatabase, tmp_path: Path, waiting: Waiting
) -> None:
    versions = image(tmp_path / "versions", table("a"))
    await upgrade(migration(empty_database), versions=versions)
    folder = tmp_path / "credentials"
    folder.mkdir()
    pod, lines = waiting(Settings(database_credentials_dir=folder, database_connect_timeout=1), versions)
    await until(lambda: "CredentialsIncomplete" in "".join(lines[-1:]))
    for name, content in {
        "host": "127.0.0.1",
        "port": str(free_port()),
        "database": empty_database.name,
        "username": APP,
        "password": "wrong-secret",
    }.items():
        (folder / name).write_text(content)
    await until(lambda: "DatabaseUnreachable" in "".join(lines[-1:]))
    (folder / "port").write_text(str(empty_database.server.port))
    await until(lambda: "password authentication failed" in "".join(lines[-1:]))
    (folder / "password").write_text(PASSWORD)
    assert (await asyncio.wait_for(pod, 5)).is_open
    assert "wrong-secret" not in "".join(lines)
    assert PASSWORD not in "".join(lines)


async def test_a_reason_is_said_once_and_again_after_a_while(
    empty_database: TestDatabase, tmp_path: Path, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = wait.look

    async def counted(*arguments: object) -> GateVerdict:
        nonlocal looks
        looks += 1
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(wait, "look", counted)
    pod, lines = waiting(service(empty_database), image(tmp_path, table("a")))
    await until(lambda: looks >= 4)
    assert len(lines) == 1
    monkeypatch.setattr(wait, "TELL_AGAIN", 0)
    await until(lambda: len(lines) >= 3)
    pod.cancel()
    await asyncio.gather(pod, return_exceptions=True)


async def test_a_limit_ends_the_wait_with_what_it_waited_for(empty_database: TestDatabase, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"Not ready after 0\.2 s: .*LedgerMissing"):
        await wait_for_schema(
            service(empty_database), versions=image(tmp_path, table("a")), limit=0.2, report=lambda _: None
        )


async def test_a_url_that_is_none_is_no_reason_to_wait(tmp_path: Path) -> None:
    settings = Settings(database_url="mysql://somewhere")  # type: ignore[arg-type]
    with pytest.raises(LoginError):
        await wait_for_schema(settings, versions=image(tmp_path, table("a")), report=lambda _: None)


async def test_the_service_looks_at_the_gate_by_its_own_pool(
    empty_database: TestDatabase, tmp_path: Path, db: Database
) -> None:
    assert (await look_at_gate(db)).is_open
    pool = Database(service(empty_database), empty_database.app)
    look: Callable[[], Awaitable[GateVerdict]] = lambda: look_at_gate(pool, versions)  # noqa: E731
    versions = image(tmp_path, table("a"))
    try:
        assert (await look()).reason == "LedgerMissing"
        await upgrade(migration(empty_database), versions=versions)
        assert (await look()).is_open
    finally:
        await pool.close()
