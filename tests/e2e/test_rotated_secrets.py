"""What API and worker report at `/keys` when the kubelet swaps a mounted Secret: the operator's evidence."""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg
import httpx
import pytest

from e2e.conftest import Serve, sign_in
from servers.databases import APP, TestDatabase, superuser_sql
from servers.postgres import PASSWORD
from servers.slipway import SlipwayProcess
from servers.waiting import until
from slipway.auth.keys import generate_keys
from slipway.settings import Settings

PROMISED = 1.0
"""Seconds from the swap until the process holds what is new."""
PATIENCE = 5.0
"""Of a test, whose own looks take time too on a busy machine."""

Report = dict[str, object]


class Mounted:
    """A Secret in a pod's volume: each `show` is a folder of its own and one rename of a link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shown = 0
        folder.mkdir()

    def show(self, files: dict[str, str]) -> None:
        self._shown += 1
        generation = self.folder / f"..{self._shown}"
        generation.mkdir()
        for name, content in files.items():
            (generation / name).write_text(content)
        (self.folder / "..data_tmp").symlink_to(generation.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


@pytest.fixture
async def roles(database: TestDatabase) -> list[str]:
    """The two that take turns, as the operator makes them."""
    names = [f"{database.name}_{turn}" for turn in "ab"]
    for name in names:
        await superuser_sql(
            database.server,
            f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE {APP}",
            f"ALTER ROLE {name} SET role = '{APP}'",
        )
    return names


def login(database: TestDatabase, role: str, password: str = PASSWORD) -> dict[str, str]:
    where = database.app
    return {
        "type": "postgresql",
        "host": where.host,
        "port": str(where.port),
        "database": where.database,
        "username": role,
        "password": password,
    }


@pytest.fixture
def jwks(tmp_path: Path) -> list[dict[str, str]]:
    made = [generate_keys(tmp_path / f"made-{number}").signing.id for number in (1, 2)]
    listed = [json.loads((tmp_path / f"made-{number}/jwks.json").read_text())["keys"][0] for number in (1, 2)]
    assert [key["kid"] for key in listed] == made
    return listed


def ring(keys: list[dict[str, str]], signing: str) -> dict[str, str]:
    return {"jwks.json": json.dumps({"keys": keys}), "signing": signing}


@pytest.fixture
def secrets(tmp_path: Path, database: TestDatabase, roles: list[str], jwks: list[dict[str, str]]) -> list[Mounted]:
    keys, credentials = Mounted(tmp_path / "keys"), Mounted(tmp_path / "login")
    keys.show(ring(jwks[:1], jwks[0]["kid"]))
    credentials.show(login(database, roles[0]))
    return [keys, credentials]


@pytest.fixture(params=["serve", "worker"])
def process(serve: Serve, secrets: list[Mounted], request: pytest.FixtureRequest) -> SlipwayProcess:
    keys, credentials = secrets
    given = {"signing_keys_dir": keys.folder, "database_credentials_dir": credentials.folder}
    return serve(request.param, access_token_ttl=600, **given)


def reported(process: SlipwayProcess) -> Report:
    found: Report = httpx.get(f"{process.ops}/keys", timeout=5).json()
    return found


def counted(process: SlipwayProcess, name: str, result: str) -> float:
    start = f'slipway_file_reloads_total{{result="{result}",set="{name}"}} '
    lines = httpx.get(f"{process.ops}/metrics", timeout=5).text.splitlines()
    return next(float(line.removeprefix(start)) for line in lines if line.startswith(start))


async def sessions(database: TestDatabase, role: str) -> int:
    connection = await asyncpg.connect(database.url_superuser)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role))
    finally:
        await connection.close()


def test_files_are_looked_at_twice_in_the_time_that_is_promised() -> None:
    assert Settings.model_fields["files_poll_interval"].default <= PROMISED / 2


async def test_swapped_keys_are_held_and_a_bad_set_never(
    process: SlipwayProcess, secrets: list[Mounted], jwks: list[dict[str, str]]
) -> None:
    old, new = (key["kid"] for key in jwks)
    told = reported(process)
    assert {name: told[name] for name in ("keys", "signing", "token_lifetime")} == {
        "keys": [old],
        "signing": old,
        "token_lifetime": 600,
    }
    secrets[0].show(ring(jwks[:1], new))
    await until(lambda: counted(process, "keys", "refused") == 1, within=PATIENCE)
    assert reported(process)["signing"] == old

    secrets[0].show(ring(jwks, new))
    await until(lambda: reported(process)["signing"] == new, within=PATIENCE)
    assert reported(process)["keys"] == [old, new]
    assert (counted(process, "keys", "accepted"), counted(process, "keys", "refused")) == (1, 1)


async def test_a_swapped_login_is_in_use_when_it_is_reported_and_the_old_one_is_left(
    process: SlipwayProcess, secrets: list[Mounted], database: TestDatabase, roles: list[str]
) -> None:
    old, new = roles
    await until(lambda: _has_sessions(database, old))
    secrets[1].show(login(database, new, password="not it"))
    await until(lambda: counted(process, "database", "refused") == 1, within=PATIENCE)
    assert reported(process)["database_role"] == old, "what can't log in is not in use"

    secrets[1].show(login(database, new))
    await until(lambda: reported(process)["database_role"] == new, within=PATIENCE)
    # The worker's LISTEN connection too, which is never idle in the pool.
    await until(lambda: _has_no_sessions(database, old), within=PATIENCE)
    assert "not it" not in process.output
    assert PASSWORD not in process.output


async def _has_sessions(database: TestDatabase, role: str) -> bool:
    return await sessions(database, role) > 0


async def _has_no_sessions(database: TestDatabase, role: str) -> bool:
    return await sessions(database, role) == 0


async def test_the_worker_listens_with_the_new_login(
    serve: Serve, secrets: list[Mounted], database: TestDatabase, roles: list[str]
) -> None:
    keys, credentials = secrets
    worker = serve("worker", signing_keys_dir=keys.folder, database_credentials_dir=credentials.folder)
    await until(lambda: _listens(database, roles[0]))
    credentials.show(login(database, roles[1]))
    await until(lambda: _listens(database, roles[1]))
    assert not await _listens(database, roles[0])
    assert worker.process is not None
    assert worker.process.poll() is None


async def _listens(database: TestDatabase, role: str) -> bool:
    connection = await asyncpg.connect(database.url_superuser)
    try:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query ILIKE 'LISTEN%'"
        return bool(await connection.fetchval(asked, role))
    finally:
        await connection.close()


async def test_people_stay_signed_in_while_keys_and_login_change(
    serve: Serve, secrets: list[Mounted], database: TestDatabase, roles: list[str], jwks: list[dict[str, str]]
) -> None:
    keys, credentials = secrets
    slipway = serve("serve", signing_keys_dir=keys.folder, database_credentials_dir=credentials.folder)
    before = sign_in(slipway)
    keys.show(ring(jwks, jwks[1]["kid"]))
    credentials.show(login(database, roles[1]))
    await until(lambda: reported(slipway)["signing"] == jwks[1]["kid"])
    await until(lambda: reported(slipway)["database_role"] == roles[1])
    for headers in (before, sign_in(slipway)):
        assert httpx.get(f"{slipway.base}/api/v1/users/me", headers=headers, timeout=10).status_code == 200
