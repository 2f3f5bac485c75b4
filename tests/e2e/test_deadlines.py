"""Deadlines, clients that go away, and more work than a process can do."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

import httpx

from e2e.conftest import Serve, sign_in
from servers.databases import TestDatabase
from servers.locks import locked_item, some_wait
from servers.waiting import until


async def test_a_request_that_takes_too_long_ends_as_a_problem_and_its_statement_ends_too(
    serve: Serve, database: TestDatabase
) -> None:
    slipway = serve(request_deadline=1)
    headers = sign_in(slipway)
    async with locked_item(slipway, database, headers) as path:
        asked = monotonic()
        reply = await asyncio.to_thread(
            httpx.patch, slipway.base + path, json={"body": "x"}, headers=headers, timeout=10
        )
        assert (reply.status_code, reply.json()["error"]) == (503, "deadline_exceeded")
        assert monotonic() - asked < 3
        await until(lambda: some_wait(database, 0), within=3)
    assert httpx.patch(slipway.base + path, json={"body": "x"}, headers=headers).status_code == 200


async def test_a_client_that_goes_away_frees_its_connection(serve: Serve, database: TestDatabase) -> None:
    slipway = serve(request_deadline=60)
    headers = sign_in(slipway)

    async with locked_item(slipway, database, headers) as path:
        client = socket.create_connection(("127.0.0.1", slipway.port), timeout=10)
        body = b'{"body": "x"}'
        client.sendall(
            f"PATCH {path} HTTP/1.1\r\nHost: slipway\r\nAuthorization: {headers['Authorization']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await until(lambda: some_wait(database), within=5)
        client.close()
        await until(lambda: some_wait(database, 0), within=3)
    item = httpx.get(slipway.base + path, headers=headers).json()
    assert item["body"] == "", "what nobody waits for any more is not done"


async def test_more_work_than_a_process_takes_on_is_turned_away_at_once(serve: Serve, database: TestDatabase) -> None:
    slipway = serve(max_concurrency=8, request_deadline=20, database_pool_size=5)
    headers = sign_in(slipway)
    async with httpx.AsyncClient(base_url=slipway.base, headers=headers, timeout=30) as client:
        async with locked_item(slipway, database, headers) as path:
            stuck = [asyncio.create_task(client.patch(path, json={"body": "x"})) for _ in range(8)]

            await until(lambda: some_wait(database, 8), within=10)

            async def turned_away() -> httpx.Response | None:
                reply = await client.get("/api/v1/users/me")
                return reply if reply.status_code == 503 else None

            reply = await until(turned_away, within=5)
            assert isinstance(reply, httpx.Response)
            assert reply.headers["Retry-After"]
            assert (await client.get("/health")).status_code == 200
            assert httpx.get(f"{slipway.ops}/livez").status_code == 200
        assert {done.status_code for done in await asyncio.gather(*stuck)} == {200}
    assert httpx.get(f"{slipway.base}/api/v1/users/me", headers=headers).status_code == 200
