"""Fixtures that every kind of test shares: real servers, fresh databases, settings that point at them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from servers.databases import APP, TestDatabase, create_database, create_roles, drop_database, superuser_sql
from servers.postgres import PostgresServer
from servers.redis import RedisServer
from slipway.domains import SETTINGS
from slipway.settings import Settings
from slipway.settings import sources as settings_sources
from slipway.storage.engine import Database
from slipway.storage.login import Login


@pytest.fixture(scope="session", autouse=True)
def no_env_file() -> Iterator[None]:
    """What a developer wrote into the checkout's `.env` is no test's business; processes start in other folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_sources, "ENV_FILE", Path(__file__).parent / "no.env")
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        asyncio.run(create_roles(server))
        yield server
    finally:
        server.remove()


@pytest.fixture
async def empty_database(postgres: PostgresServer) -> AsyncIterator[TestDatabase]:
    database = await create_database(postgres)
    yield database
    await drop_database(database)


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database at the newest schema, to clone from."""
    from slipway.migrations.runner import upgrade  # noqa: PLC0415 - unit tests need no database

    async def build() -> str:
        database = await create_database(postgres)
        settings = Settings(database_url=database.url_owner, database_grant_to=APP)  # type: ignore[arg-type]
        await upgrade(settings)
        await superuser_sql(postgres, f"ALTER DATABASE {database.name} WITH ALLOW_CONNECTIONS false")
        return database.name

    return asyncio.run(build())


@pytest.fixture
async def database(postgres: PostgresServer, migrated_template: str) -> AsyncIterator[TestDatabase]:
    clone = await create_database(postgres, template=migrated_template)
    yield clone
    await drop_database(clone)


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return SETTINGS(
        database_url=database.url_app,  # type: ignore[arg-type]
        password_memory=8 * 1024 * 1024,
        password_iterations=1,
        files_poll_interval=0.05,
    )


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    assert settings.database_url is not None
    opened = Database(settings, Login.from_url(settings.database_url.get_secret_value()))
    yield opened
    await opened.close()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


def _levels() -> dict[logging.Logger, int]:
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    return {logger: logger.level for logger in (logging.root, *known)}


@pytest.fixture(autouse=True)
def levels_of_loggers() -> Iterator[None]:
    """What a process that runs in a test makes of the log is no other test's business."""
    before = _levels()
    yield
    for logger, level in _levels().items():
        if level != before.get(logger, logging.NOTSET):
            logger.setLevel(before.get(logger, logging.NOTSET))
