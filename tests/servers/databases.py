"""Databases with the two roles of production: an owner that may do DDL, and the service's login that may not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import asyncpg

from servers.postgres import PASSWORD, PostgresServer
from slipway.storage.login import Login

OWNER = "slipway_owner"
APP = "slipway_app"


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """One database on the test server."""

    __test__ = False
    server: PostgresServer
    name: str

    @property
    def url_owner(self) -> str:
        return self.server.url(self.name, OWNER)

    @property
    def url_app(self) -> str:
        return self.server.url(self.name, APP)

    @property
    def url_superuser(self) -> str:
        return self.server.url(self.name)

    @property
    def owner(self) -> Login:
        return Login.from_url(self.url_owner)

    @property
    def app(self) -> Login:
        return Login.from_url(self.url_app)


async def superuser_sql(server: PostgresServer, *statements: str, database: str = "postgres") -> None:
    connection = await asyncpg.connect(server.url(database), timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def create_roles(server: PostgresServer) -> None:
    await superuser_sql(
        server,
        f"CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}' CREATEROLE",
        f"CREATE ROLE {APP} LOGIN PASSWORD '{PASSWORD}'",
    )


async def create_database(server: PostgresServer, *, template: str = "template0") -> TestDatabase:
    name = f"test_{secrets.token_hex(6)}"
    await superuser_sql(server, f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template}")
    return TestDatabase(server, name)


async def drop_database(database: TestDatabase) -> None:
    await superuser_sql(database.server, f"DROP DATABASE {database.name} WITH (FORCE)")
