"""New database credentials: idle connections of the old login end at once, busy ones after their transaction."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from servers.databases import APP, TestDatabase, superuser_sql
from servers.postgres import PostgresServer
from servers.waiting import until
from slipway.resources import open_database, open_resources
from slipway.settings import Settings
from slipway.storage.audit import Action
from slipway.storage.connections import Connections
from slipway.storage.engine import Database
from slipway.storage.login import Login
from slipway.storage.statements import Statement, one
from slipway.storage.unit import Asked, Transaction
from slipway.telemetry.registry import REGISTRY

PROMISED = 2.0
TRY = Action("tests", "try")
MOMENT = Statement(text("SELECT pg_sleep(0.002)"))


@pytest.fixture
async def logins(postgres: PostgresServer, database: TestDatabase) -> AsyncIterator[tuple[Login, Login]]:
    """Two login roles that take turns, members of the service's role."""
    names = [f"app_{turn}_{secrets.token_hex(4)}" for turn in "ab"]
    for name in names:
        await superuser_sql(postgres, f"CREATE ROLE {name} LOGIN PASSWORD '{name} secret' IN ROLE {APP}")
    first, second = (
        Login("127.0.0.1", postgres.port, database.name, name, SecretStr(f"{name} secret")) for name in names
    )
    yield first, second
    for name in names:
        await superuser_sql(
            postgres,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'",  # noqa: S608 - a name made here
            f"DROP ROLE {name}",
        )


@pytest.fixture
async def opened(settings: Settings, logins: tuple[Login, Login]) -> AsyncIterator[Database]:
    database = Database(settings, logins[0])
    yield database
    await database.close()


async def connections_of(server: PostgresServer, login: Login) -> int:
    connection = await asyncpg.connect(server.url())
    try:
        counted = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", login.username)
    finally:
        await connection.close()
    return int(counted)


WHO = Statement(text("SELECT session_user AS name"))


async def who(asked: Asked) -> str:
    return str(one(await asked.row(WHO)).name)


async def hold(database: Database, begun: asyncio.Event, release: asyncio.Event) -> tuple[str, str]:
    """A transaction that is busy until it is released; who it ran as at its start and at its end."""

    async def work(transaction: Transaction) -> tuple[str, str]:
        first = await who(transaction)
        begun.set()
        await release.wait()
        return first, await who(transaction)

    return await database.unit(TRY, work)


async def busy(database: Database, count: int, release: asyncio.Event) -> list[asyncio.Task[tuple[str, str]]]:
    events = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(hold(database, begun, release)) for begun in events]
    await asyncio.gather(*(begun.wait() for begun in events))
    return tasks


async def with_idle_and_busy(database: Database, release: asyncio.Event) -> list[asyncio.Task[tuple[str, str]]]:
    """Three idle connections and two busy ones, which end when `release` is set."""
    idle = asyncio.Event()
    idlers = await busy(database, 5, idle)
    idle.set()
    await asyncio.gather(*idlers)
    return await busy(database, 2, release)


async def test_idle_connections_end_at_once_and_busy_ones_after_their_transaction(
    postgres: PostgresServer, opened: Database, logins: tuple[Login, Login]
) -> None:
    old, new = logins
    release = asyncio.Event()
    running = await with_idle_and_busy(opened, release)
    assert await connections_of(postgres, old) == 5

    await opened.change_login(new)
    await until(lambda: _has(postgres, old, 2))
    assert opened.role == new.username
    assert await who(opened) == new.username

    release.set()
    assert [await task for task in running] == [(old.username, old.username)] * 2
    await until(lambda: _has(postgres, old, 0))


async def _has(server: PostgresServer, login: Login, count: int) -> bool:
    return await connections_of(server, login) == count


async def test_without_closing_them_busy_connections_would_stay_after_their_transaction(
    postgres: PostgresServer, settings: Settings, logins: tuple[Login, Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connections, "_close_outdated", lambda *_: None)
    monkeypatch.setattr(Connections, "_is_fit", lambda *_: True)
    database = Database(settings, logins[0])
    release = asyncio.Event()
    running = await busy(database, 2, release)
    await database.change_login(logins[1])
    release.set()
    await asyncio.gather(*running)
    assert await connections_of(postgres, logins[0]) == 2
    await database.close()


async def test_disposing_of_the_pool_instead_would_leave_idle_connections(
    postgres: PostgresServer, opened: Database, logins: tuple[Login, Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection made while the old pool is being emptied belongs to that pool for good."""
    abandoned = opened.connections.engine.pool
    idle = asyncio.Event()
    idlers = await busy(opened, 5, idle)
    idle.set()
    await asyncio.gather(*idlers)
    monkeypatch.setattr(opened.connections, "close_idle", lambda: None)
    await opened.change_login(logins[1])
    release = asyncio.Event()
    disposing = asyncio.create_task(opened.connections.engine.dispose())
    await asyncio.sleep(0)
    [running] = await busy(opened, 1, release)
    await disposing
    release.set()
    await running
    assert opened.connections.engine.pool is not abandoned
    await opened.connections.engine.dispose()
    assert await connections_of(postgres, logins[1]) == 1
    abandoned.dispose()


async def work(database: Database, roles: set[str], stop: asyncio.Event) -> int:
    """Transactions and reads without a pause until told to stop; any error ends it."""
    done = 0

    async def slowly(transaction: Transaction) -> None:
        roles.add(await who(transaction))
        await transaction.row(MOMENT)

    while not stop.is_set():
        await database.unit(TRY, slowly)
        roles.add(await who(database))
        done += 2
    return done


async def test_nothing_fails_while_logins_change_under_load(
    postgres: PostgresServer, opened: Database, logins: tuple[Login, Login]
) -> None:
    roles: set[str] = set()
    stop = asyncio.Event()
    workers = [asyncio.create_task(work(opened, roles, stop)) for _ in range(12)]
    for turn in range(1, 5):
        await asyncio.sleep(0.2)
        await opened.change_login(logins[turn % 2])
        await until(lambda turn=turn: _has(postgres, logins[(turn + 1) % 2], 0))  # type: ignore[misc]
    stop.set()
    assert min(await asyncio.gather(*workers)) > 0
    assert roles == {login.username for login in logins}


async def test_a_login_that_the_server_refuses_is_not_taken(opened: Database, logins: tuple[Login, Login]) -> None:
    wrong = Login(logins[1].host, logins[1].port, logins[1].database, logins[1].username, SecretStr("wrong"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await opened.change_login(wrong)
    assert opened.role == logins[0].username
    assert await who(opened) == logins[0].username


def write(folder: Path, login: Login, **changes: str) -> None:
    values = {
        "host": login.host,
        "port": str(login.port),
        "database": login.database,
        "username": login.username,
        "password": login.password.get_secret_value(),
    }
    folder.mkdir(exist_ok=True)
    for name, value in (values | changes).items():
        (folder / name).write_text(value)


def refusals() -> float:
    return REGISTRY.get_sample_value("slipway_file_reloads_total", {"set": "database", "result": "refused"}) or 0.0


async def test_credentials_in_files_take_effect_in_time_and_bad_ones_never(
    postgres: PostgresServer, settings: Settings, logins: tuple[Login, Login], tmp_path: Path
) -> None:
    old, new = logins
    folder = tmp_path / "credentials"
    write(folder, old)
    interval = Settings.model_fields["files_poll_interval"].default
    assert interval <= PROMISED / 2
    changed = settings.with_changes(
        database_credentials_dir=folder, files_poll_interval=interval, data_dir=tmp_path / "data"
    )
    async with open_resources(changed) as resources:
        roles: set[str] = set()
        stop = asyncio.Event()
        worker = asyncio.create_task(work(resources.database, roles, stop))
        for useless in ("", "not the password"):
            before = refusals()
            write(folder, new, password=useless)
            await until(lambda before=before: refusals() > before, within=5)  # type: ignore[misc]
            assert resources.database.role == old.username
        write(folder, new)
        await until(lambda: resources.database.role == new.username, within=5)
        await until(lambda: _has(postgres, old, 0))
        stop.set()
        assert await worker > 0
        assert roles == {old.username, new.username}


async def test_a_pool_without_a_folder_follows_nothing(settings: Settings) -> None:
    database, folder = open_database(settings)
    assert folder is None
    await database.close()


async def test_a_connection_that_was_being_made_with_a_login_that_is_locked_meanwhile_is_made_with_the_new_one(
    opened: Database, logins: tuple[Login, Login], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = asyncpg.connect, logins[0].username

    async def connect(*where: Any, **arguments: Any) -> Any:
        # Between reading the login and using it, the login changes and the old one is locked: the worst moment.
        if arguments.get("user") == first and opened.role == first:
            await opened.change_login(logins[1])
            await superuser_sql(postgres, f"ALTER ROLE {first} PASSWORD 'another'")
        return await real(*where, **arguments)

    monkeypatch.setattr(asyncpg, "connect", connect)
    assert await opened.unit(TRY, who) == logins[1].username


async def test_a_login_that_is_refused_and_did_not_change_is_an_error(
    opened: Database, logins: tuple[Login, Login], postgres: PostgresServer
) -> None:
    await superuser_sql(postgres, f"ALTER ROLE {logins[0].username} PASSWORD 'another'")
    with pytest.raises(asyncpg.InvalidPasswordError, match="password authentication failed"):
        await opened.unit(TRY, who)
