"""That server for a module of tests, and its roles for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from servers.login_server import ADMIN, COUNT, SERVICE, A, B, World
from servers.postgres import PASSWORD, PostgresServer
from slipway_operator.logins.address import Address, LoginData


@pytest.fixture(scope="module")
def logging_server() -> Iterator[PostgresServer]:
    server = PostgresServer({"log_statement": "all", "log_min_messages": "debug1"})
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def world(logging_server: PostgresServer) -> AsyncIterator[World]:
    admin = LoginData(Address("127.0.0.1", logging_server.port, "postgres"), ADMIN, PASSWORD)
    made = World(logging_server, admin)
    await made.sql(
        f"CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{PASSWORD}'",
        f"GRANT pg_read_all_stats TO {ADMIN}",
        f"CREATE ROLE {SERVICE}",
        f"GRANT {SERVICE} TO {ADMIN} WITH ADMIN OPTION",
        f"CREATE SCHEMA {SERVICE} AUTHORIZATION {SERVICE}",
    )
    yield made
    await made.sql(f"DROP SCHEMA {SERVICE} CASCADE")
    # In the order in which one hangs upon the other.
    for role in (A, B, "stranger", SERVICE, "strong", ADMIN):
        if await made.value(COUNT, [role]):
            await made.value(
                "SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = $1", role
            )
            await made.sql(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")
