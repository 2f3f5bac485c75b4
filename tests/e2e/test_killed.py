"""API and worker, killed under a thousand clients: each committed write has its row, and no row is without one."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from e2e.conftest import Serve, new_key, sign_in
from servers.databases import TestDatabase
from servers.migration_images import session
from servers.slipway import SlipwayProcess
from servers.waiting import until

CLIENTS = 1000
PEOPLE = 20
"""Of the clients: they make users, each with a job that mails them."""
LIMITS = {"max_concurrency": 2 * CLIENTS, "database_pool_timeout": 60, "request_deadline": 60}

MADE = """
SELECT (SELECT array_agg(id) FROM items) AS items,
    (SELECT array_agg(substr(resource, 7)::uuid) FROM audit WHERE action = 'items.create') AS items_told,
    (SELECT array_agg(id) FROM users WHERE email LIKE 'made-%') AS users,
    (SELECT array_agg(substr(resource, 7)::uuid) FROM audit WHERE action = 'users.create'
        AND actor IS NOT NULL) AS users_told,
    (SELECT array_agg(id) FROM jobs WHERE name = 'send_mail') AS jobs_left,
    (SELECT array_agg(substr(resource, 6)::bigint) FROM audit WHERE action = 'jobs.finish'
        AND resource NOT IN (SELECT 'jobs/' || id FROM jobs WHERE dedupe_key LIKE 'periodic:%')) AS jobs_told
"""
"""Of one moment, and so one statement: what the killed have sent may still be done."""


class Clients:
    """Each makes one thing after another on a connection of its own, until that is cut."""

    def __init__(self, slipway: SlipwayProcess, headers: dict[str, str]) -> None:
        self._port = slipway.port
        self._authorization = headers["Authorization"]
        self._numbers = count()
        self.connected = 0
        self.items: list[UUID] = []
        self.users: list[UUID] = []
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, number: int) -> None:
        self.tasks += [asyncio.create_task(self._make(each)) for each in range(len(self.tasks), number)]

    async def _make(self, number: int) -> None:
        people = number < PEOPLE
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self.connected += 1
            with closing(writer):
                while True:
                    if people:
                        name = f"made-{next(self._numbers)}@example.com"
                        made = await self._post(reader, writer, "users", {"email": name, "password": new_key()})
                        self.users.append(made)
                    else:
                        key = {"Idempotency-Key": new_key()} if number % 2 else {}
                        self.items.append(await self._post(reader, writer, "items", {"title": "Hull"}, **key))

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, content: object, **headers: str
    ) -> UUID:
        body = json.dumps(content).encode()
        fields = {"Host": "slipway", "Authorization": self._authorization, "Content-Type": "application/json"}
        fields |= {"Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST /api/v1/{what} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        reply = json.loads(await reader.readexactly(length))
        assert " 201 " in status, reply
        return UUID(reply["id"])


async def made(database: TestDatabase) -> dict[str, list[object]]:
    async with session(database.url_superuser) as connection:
        row = await connection.fetchrow(MADE)
    return {name: sorted(found or ()) for name, found in row.items()}


async def test_what_killed_processes_have_committed_has_its_row_and_no_row_is_without_its_write(
    serve: Serve, database: TestDatabase
) -> None:
    slipway, worker = serve(**LIMITS), serve("worker")
    clients = Clients(slipway, sign_in(slipway))

    async def mailed() -> bool:
        return len((await made(database))["jobs_told"]) > 1

    clients.begin(PEOPLE)
    await until(mailed, within=60)
    clients.begin(CLIENTS)
    await until(lambda: clients.connected == CLIENTS and len(clients.items) > CLIENTS / 2, within=60)
    slipway.kill()
    worker.kill()
    await asyncio.gather(*clients.tasks)
    found = await made(database)
    assert found["items"] == found["items_told"]
    assert set(found["items"]) >= set(clients.items)
    assert found["users"] == found["users_told"]
    assert set(found["users"]) >= set(clients.users)
    assert len(found["jobs_left"]) + len(found["jobs_told"]) == len(found["users"]), "each was enqueued with its user"
    assert not set(found["jobs_left"]) & set(found["jobs_told"]), "none is told to be done that is still there"


TORN = """
import asyncio
from slipway.storage.unit import Transaction

async def torn(transaction, whole, **values):
    add = "INSERT INTO items (id, owner_id, title) VALUES ($1, $2, 'Hull')"
    await transaction._connection.execute(add, values["id"], values["owner_id"])
    print("torn", flush=True)
    await asyncio.Event().wait()

Transaction.conclude = torn
"""


async def test_a_row_that_is_committed_after_its_write_would_be_missing(
    serve: Serve, database: TestDatabase, tmp_path: Path
) -> None:
    """Negative control: the two apart in the process, which is killed between them."""
    (tmp_path / "sitecustomize.py").write_text(TORN)
    slipway = serve(python_path=tmp_path)
    headers = sign_in(slipway)
    asking = asyncio.create_task(_ask(slipway, headers))
    await until(lambda: "torn" in slipway.output)
    slipway.kill()
    with pytest.raises(httpx.TransportError):
        await asking
    found = await made(database)
    assert (len(found["items"]), found["items_told"]) == (1, [])


async def _ask(slipway: SlipwayProcess, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        await client.post(f"{slipway.base}/api/v1/items", json={"title": "Hull"}, headers=headers)
