from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from servers.jobs import TRY, done, enqueue, rows, working
from slipway.context.request import RequestContext, current
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.queue import JobQueue
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.unit import Transaction
from slipway.telemetry.tracing import Tracing


class TakeItBackError(Exception):
    pass


async def enqueue_and_roll_back(db: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await JobQueue().enqueue(transaction, "greet", {})
        raise TakeItBackError

    await db.unit(TRY, work)


async def test_a_rollback_takes_the_job_back(db: Database) -> None:
    with pytest.raises(TakeItBackError):
        await enqueue_and_roll_back(db)
    assert await rows(db) == []


async def test_through_the_raw_connection_the_job_would_survive_a_rollback(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raw(_: object, transaction: Transaction, name: str, _payload: Mapping[str, object]) -> None:
        driver: Any = transaction._connection  # noqa: SLF001 - behind its back, so without BEGIN
        await driver.execute("INSERT INTO jobs (name, payload) VALUES ($1, '{}')", name)

    monkeypatch.setattr(JobQueue, "enqueue", raw)
    with pytest.raises(TakeItBackError):
        await enqueue_and_roll_back(db)
    assert [row.name for row in await rows(db)] == ["greet"]


async def test_a_dedupe_key_admits_one_job_at_a_time(settings: Settings, db: Database) -> None:
    await enqueue(db, "greet", {"n": 1}, dedupe_key="ada")
    await enqueue(db, "greet", {"n": 2}, dedupe_key="ada")
    await enqueue(db, "greet", {"n": 3}, dedupe_key="bob")
    assert [row.payload["n"] for row in await rows(db)] == [1, 3]

    async def run(_: Job) -> None:
        pass

    async with working(settings, db, {"greet": Kind(run)}):
        await done(db)
    await enqueue(db, "greet", {"n": 4}, dedupe_key="ada")
    assert [row.payload["n"] for row in await rows(db)] == [4]


async def test_a_job_carries_the_request_id_and_the_trace_of_its_request(settings: Settings, db: Database) -> None:
    request = RequestContext("request-1")
    request.trace_id, request.span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    seen: list[RequestContext | None] = []

    async def run(_: Job) -> None:
        seen.append(current.get())

    token = current.set(request)
    await enqueue(db, "greet")
    current.reset(token)
    async with working(settings, db, {"greet": Kind(run)}):
        await done(db)
    assert seen[0] is not None
    assert (seen[0].request_id, seen[0].trace_id) == ("request-1", request.trace_id)


async def test_a_job_that_no_request_wanted_has_an_id_of_its_own(settings: Settings, db: Database) -> None:
    seen: list[RequestContext | None] = []

    async def run(_: Job) -> None:
        seen.append(current.get())

    await enqueue(db, "greet")
    [row] = await rows(db)
    async with working(settings, db, {"greet": Kind(run)}):
        await done(db)
    assert seen[0] is not None
    assert seen[0].request_id == f"job-{row.id}"


async def test_the_span_of_a_job_is_a_child_of_its_request_s(settings: Settings, db: Database) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(settings, exporter=exporter)
    request = RequestContext("request-1")
    request.trace_id, request.span_id, request.trace_flags = (
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "01",
    )

    async def run(_: Job) -> None:
        pass

    token = current.set(request)
    await enqueue(db, "greet")
    current.reset(token)
    async with working(settings, db, {"greet": Kind(run)}):
        await done(db)
    tracing.shutdown()
    [span] = [span for span in exporter.get_finished_spans() if span.name == "job greet"]
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{request.trace_id}-{request.span_id}"
