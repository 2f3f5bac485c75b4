"""A PostgreSQL whose administrator of logins is no superuser, and which logs every statement."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg

from servers.databases import superuser_sql
from servers.postgres import PostgresServer
from slipway_operator.logins import scram
from slipway_operator.logins.address import LoginData
from slipway_operator.logins.postgres import Pair, set_password
from unit.operator.login_objects import NAME, NAMESPACE

ADMIN, SERVICE = "login_admin", "shop"
A, B = "shop_a", "shop_b"
PAIR = Pair((A, B), SERVICE, f"{NAMESPACE}/{NAME}", 5)
STAYS = re.compile(r"postgres: (checkpointer|background writer|walwriter|io worker|\w[\w ]* launcher)")
COUNT = "SELECT count(*) FROM pg_roles WHERE rolname = ANY($1::name[])"


@dataclass
class World:
    """A server that logs every statement, with a CREATEROLE admin and the service's role."""

    server: PostgresServer
    admin: LoginData

    async def sql(self, *statements: str) -> None:
        await superuser_sql(self.server, *statements)

    async def value(self, statement: str, *values: object) -> Any:
        connection = await asyncpg.connect(self.server.url(), timeout=10)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    def login(self, role: str, password: str) -> LoginData:
        return replace(self.admin, user=role, password=password)

    async def given(self, role: str) -> str:
        """Its new password."""
        password = scram.new_password()
        await set_password(self.admin, PAIR, role, scram.verifier(password))
        return password

    @asynccontextmanager
    async def session(self, role: str, password: str, application: str = "shop") -> AsyncIterator[Any]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.server.port, database="postgres", user=role, password=password,
            timeout=10, server_settings={"application_name": application},
        )  # fmt: skip
        try:
            yield connection
        finally:
            await connection.close()

    def rests(self) -> bool:
        """Whether only processes are there that stay: no session, and none that is about to end."""
        postmaster = (self.server.data / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        try:
            return all(STAYS.search(Path(f"/proc/{child}/cmdline").read_text()) for child in children)
        except (FileNotFoundError, ProcessLookupError):
            return False

    def logged(self) -> str:
        return (self.server.folder / "log").read_text()
