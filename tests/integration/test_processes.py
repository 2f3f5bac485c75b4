"""What a process does from its start to its end: in this one, on real sockets and a real database."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import httpx
import pytest

from servers.databases import TestDatabase
from servers.jobs import empty, enqueue
from servers.waiting import free_port, until
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.worker import Worker
from slipway.resources import Resources
from slipway.server import serve, work
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.telemetry.logs import LineWriter, configure_logging


@pytest.fixture
def told(app_settings: Settings) -> Settings:
    return app_settings.with_changes(port=free_port(), ops_port=free_port(), drain=0.0, shutdown_timeout=5.0)


@pytest.fixture(autouse=True)
def thawed() -> Any:
    yield
    gc.unfreeze()


class Process:
    """A process as its neighbours see it."""

    def __init__(self, settings: Settings) -> None:
        self.stream = io.StringIO()
        self.lines: LineWriter = configure_logging(settings, self.stream)
        self.settings = settings
        self.resources: Resources | None = None
        self.task: asyncio.Task[None] | None = None
        self.ops = httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.ops_port}", timeout=10)
        self.api = httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=10)

    async def ready(self, resources: Resources) -> None:
        self.resources = resources

    def logged(self) -> list[dict[str, Any]]:
        self.lines.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.logged()]

    async def readiness(self) -> tuple[int, str]:
        try:
            reply = await self.ops.get("/readyz?verbose")
        except httpx.TransportError:
            return 0, ""
        return reply.status_code, reply.text

    async def is_ready(self) -> bool:
        return (await self.readiness())[0] == 200

    async def ended(self) -> None:
        assert self.task is not None
        await asyncio.wait_for(self.task, 20)


def terminate(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@asynccontextmanager
async def running(process: Process, work: Coroutine[Any, Any, None]) -> AsyncIterator[Process]:
    """Ends by itself at the end of the block; a test says before how."""
    process.task = asyncio.create_task(work)
    try:
        async with process.ops, process.api:
            yield process
    finally:
        if not process.task.done():
            process.task.cancel()
            await asyncio.wait([process.task], timeout=20)


@asynccontextmanager
async def serving(settings: Settings, **options: Any) -> AsyncIterator[Process]:
    process = Process(settings)
    async with running(process, serve(settings, process.lines, ready=process.ready, **options)):
        yield process


async def test_it_is_ready_tells_of_its_keys_and_ends_with_a_signal(told: Settings) -> None:
    async with serving(told) as process:
        await until(process.is_ready)
        await until(lambda: process.resources)
        assert (await process.api.get("/health")).json() == {"status": "healthy"}
        keys = (await process.ops.get("/keys")).json()
        assert keys["token_lifetime"] == told.access_token_ttl
        assert keys["database_role"] == "slipway_app"
        assert process.resources is not None
        assert keys["signing"] == process.resources.keys.report()["signing"]
        terminate(signal.SIGINT)
        await process.ended()
        with pytest.raises(httpx.ConnectError):
            await process.api.get("/health")
    assert process.messages().count("Draining.") == 1
    assert not [line for line in process.logged() if line["level"] in {"WARNING", "ERROR"}]


async def test_after_the_signal_it_is_unready_at_once_and_serves_on_for_the_drain(told: Settings) -> None:
    async with serving(told.with_changes(drain=1.0)) as process:
        await until(process.is_ready)
        assert "close" not in (await process.api.get("/health")).headers.get("connection", "")
        began = monotonic()
        terminate()
        await until(lambda: "Draining." in process.messages())
        status, text = await process.readiness()
        assert (status, text.splitlines()[0]) == (503, "[-] traffic: leaving: no new work, please")
        reply = await process.api.get("/health")
        assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        await process.ended()
        assert monotonic() - began >= 1.0
    (line,) = [line for line in process.logged() if line["message"] == "Draining."]
    assert line["seconds"] == 1.0


HALF = b"POST /api/v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
HALF += b"Content-Length: 100\r\n\r\nusername="


async def test_a_request_that_outlasts_its_patience_is_answered_503_then(told: Settings) -> None:
    async with serving(told.with_changes(shutdown_timeout=0.3)) as process:
        await until(process.is_ready)
        reader, writer = await asyncio.open_connection("127.0.0.1", told.port)
        writer.write(HALF)
        await until(lambda: in_progress(process))
        began = monotonic()
        terminate()
        reply = await asyncio.wait_for(reader.read(), 20)
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b'"error":"unavailable"' in reply
        # The body has longer than that where nobody stops.
        assert monotonic() - began >= 0.3
        writer.close()
        await process.ended()


async def in_progress(process: Process) -> bool:
    return "http_requests_in_progress 1.0" in (await process.ops.get("/metrics")).text


@pytest.mark.parametrize(("trusted", "statuses"), [("127.0.0.0/8", [404, 404, 429]), ("", [404, 429, 429])])
async def test_whose_request_it_is_a_proxy_says_only_where_it_is_ours(
    told: Settings, trusted: str, statuses: list[int]
) -> None:
    async with serving(told.with_changes(trusted_proxies=trusted, rate_limit=1)) as process:
        await until(process.is_ready)
        addresses = ("203.0.113.7", "203.0.113.8", "203.0.113.7")
        replies = [await process.api.get("/nowhere", headers={"X-Forwarded-For": each}) for each in addresses]
        assert [reply.status_code for reply in replies] == statuses
        assert not any("server" in reply.headers for reply in replies)
        terminate()
        await process.ended()
    assert {line["logger"] for line in process.logged()} >= {"slipway.access", "slipway.server"}
    assert not any(line["logger"].startswith("uvicorn") for line in process.logged())


async def test_a_head_beyond_the_setting_is_refused(told: Settings) -> None:
    async with serving(told.with_changes(max_header_bytes=4096)) as process:
        await until(process.is_ready)
        assert (await process.api.get("/health", headers={"X-Long": "x" * 3800})).status_code == 200
        assert (await process.api.get("/health", headers={"X-Long": "x" * 4096})).status_code == 431
        terminate()
        await process.ended()


async def test_a_signal_before_it_is_ready_ends_it_without_a_word_of_being_ready(
    told: Settings, database: TestDatabase
) -> None:
    away = told.with_changes(database_url=database.url_app.replace(str(database.server.port), str(free_port())))
    async with serving(away) as process:
        await until(lambda: "Not ready yet." in process.messages())
        status, text = await process.readiness()
        assert status == 503
        assert "[+] traffic" in text
        assert "[-] schema: the database can't be used" in text
        terminate()
        await process.ended()
    assert process.resources is None


async def test_with_a_worker_it_does_jobs_beside_requests_and_without_one_it_leaves_them(
    told: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = asyncio.Event()

    async def run(_: Job) -> None:
        ran.set()

    monkeypatch.setattr("slipway.worker.make_worker", lambda settings, db: Worker(settings, db, {"greet": Kind(run)}))
    await enqueue(db, "greet")
    async with serving(told) as process:
        await until(process.is_ready)
        terminate()
        await process.ended()
    assert not ran.is_set()
    async with serving(told, with_worker=True) as process:
        await asyncio.wait_for(ran.wait(), 10)
        await until(lambda: empty(db))
        terminate()
        await process.ended()


async def test_a_worker_ends_its_job_before_it_ends_and_can_be_watched_meanwhile(
    told: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def run(_: Job) -> None:
        begun.set()
        await go.wait()

    monkeypatch.setattr("slipway.worker.make_worker", lambda settings, db: Worker(settings, db, {"greet": Kind(run)}))
    await enqueue(db, "greet")
    process = Process(told)
    async with running(process, work(told)):
        await asyncio.wait_for(begun.wait(), 10)
        terminate()
        await asyncio.sleep(0)
        assert await process.is_ready()
        with pytest.raises(httpx.ConnectError):
            await process.api.get("/health")
        go.set()
        await process.ended()
        with pytest.raises(httpx.ConnectError):
            await process.ops.get("/livez")
    assert await empty(db)


async def test_a_worker_that_never_was_ready_took_no_job(told: Settings, database: TestDatabase) -> None:
    away = told.with_changes(database_url=database.url_app.replace(str(database.server.port), str(free_port())))
    process = Process(away)
    async with running(process, work(away)):
        await until(lambda: "Not ready yet." in process.messages())
        terminate()
        await process.ended()
    assert "jobs can't be taken" not in process.messages()
