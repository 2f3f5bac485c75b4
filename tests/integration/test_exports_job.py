from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from servers.jobs import TRY, done, rows, working
from servers.staging import staged
from servers.waiting import until
from slipway.auth.models import User
from slipway.exports import job as export_job
from slipway.exports import service
from slipway.exports.job import ExportJob
from slipway.exports.models import Export, ExportChunk
from slipway.exports.schemas import ExportFormat
from slipway.exports.service import TornExportError
from slipway.http.problems import ConflictError
from slipway.items.models import Item
from slipway.jobs import queries as job_queries
from slipway.jobs.kinds import Job, LeaseLostError
from slipway.jobs.queue import JobQueue
from slipway.settings import Settings
from slipway.storage.engine import Database


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(job_backoff=0.02, job_max_attempts=2)


async def make_owner(db: Database, *titles: str, body: str = "") -> UUID:
    async with staged(db) as session:
        user = User(email=f"{len(titles)}@example.com", password_hash="-")
        session.add(user)
        await session.flush()
        for title in titles:
            session.add(Item(owner_id=user.id, title=title, body=body))
            await session.flush()
        return user.id


async def ask(db: Database, settings: Settings, owner: UUID, kind: ExportFormat) -> Export:
    asked = await db.unit(
        service.REQUEST, lambda transaction: service.request_export(transaction, JobQueue(), settings, owner, kind)
    )
    return await db.read(lambda session: session.get_one(Export, asked.id))


async def find(db: Database, export: Export) -> Export:
    return await db.read(lambda session: session.get_one(Export, export.id))


async def content(db: Database, export: Export) -> bytes:
    return b"".join([chunk async for chunk in service.file_of(db, await find(db, export))])


async def made(db: Database, settings: Settings, owner: UUID, kind: ExportFormat) -> Export:
    export = await ask(db, settings, owner, kind)
    async with working(settings, db, {service.JOB: ExportJob(db).kind}):
        await done(db)
    return await find(db, export)


async def test_json_lines_hold_every_own_item_exactly_as_stored(settings: Settings, db: Database) -> None:
    await make_owner(db, "not mine", "nor this")
    owner = await make_owner(db, "first", "=2+3", "dritter ✓", body="line\nline")
    export = await made(db, settings, owner, "jsonl")
    items = [json.loads(line) for line in (await content(db, export)).splitlines()]
    assert [item["title"] for item in items] == ["first", "=2+3", "dritter ✓"]
    assert items[0]["body"] == "line\nline"
    assert (export.state, export.row_count, export.byte_count) == ("done", 3, len(await content(db, export)))


async def test_a_spreadsheet_runs_nothing_of_a_csv_file(settings: Settings, db: Database) -> None:
    owner = await make_owner(db, "=HYPERLINK(1)", "+1", "-1", "@x", 'plain, "quoted"', body="\tx")
    export = await made(db, settings, owner, "csv")
    lines = list(csv.DictReader(io.StringIO((await content(db, export)).decode(), newline="")))
    assert [line["title"] for line in lines] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", 'plain, "quoted"']
    assert {line["body"] for line in lines} == {"'\tx"}


async def test_without_that_guard_the_formula_would_be_in_the_file(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.exports.formats.harmless", lambda cell: cell)
    export = await made(db, settings, await make_owner(db, "=HYPERLINK(1)"), "csv")
    assert b"\n" in await content(db, export)
    assert b",=HYPERLINK(1)," in await content(db, export)


async def test_an_export_of_nothing_is_a_header_or_nothing(settings: Settings, db: Database) -> None:
    owner = await make_owner(db)
    assert await content(db, await made(db, settings, owner, "csv")) == (
        b"id,title,body,version,created_at,updated_at\r\n"
    )
    assert await content(db, await made(db, settings, owner, "jsonl")) == b""


async def test_a_large_file_is_kept_in_pieces_of_bounded_size(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "BATCH_ROWS", 4)
    owner = await make_owner(db, *[f"item {n}" for n in range(60)], body="ü" * 10_000)
    export = await made(db, settings, owner, "jsonl")
    sizes = await db.read(lambda session: _sizes(session, export.id))
    assert sizes[:-1] == [256 * 1024] * (len(sizes) - 1)
    assert len(sizes) == 5
    items = [json.loads(line) for line in (await content(db, export)).splitlines()]
    assert [item["title"] for item in items] == [f"item {n}" for n in range(60)]


async def _sizes(session: Any, export_id: UUID) -> list[int]:
    statement = select(func.length(ExportChunk.data)).where(ExportChunk.export_id == export_id)
    return list(await session.scalars(statement.order_by(ExportChunk.seq)))


async def test_a_run_that_breaks_off_leaves_nothing_in_the_next_one_s_file(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "CHUNK_BYTES", 200)
    finish, failures = export_job._Pieces.finish, [RuntimeError("broken")]  # noqa: SLF001 - where it hurts

    async def fail_once(pieces: Any, number: int) -> None:
        if failures:
            raise failures.pop()
        await finish(pieces, number)

    monkeypatch.setattr(export_job._Pieces, "finish", fail_once)  # noqa: SLF001
    export = await made(db, settings, await make_owner(db, "first", "second", "third"), "jsonl")
    assert failures == []
    titles = [json.loads(line)["title"] for line in (await content(db, export)).splitlines()]
    assert titles == ["first", "second", "third"]


async def two_runs_at_once(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> tuple[Export, BaseException | None]:
    """One stalls before its last chunk, another takes the job and makes the file, then the first goes on."""
    monkeypatch.setattr(export_job, "CHUNK_BYTES", 200)
    owner = await make_owner(db, "first", "second", "third")
    export = await ask(db, settings, owner, "jsonl")
    stalled, go_on = asyncio.Event(), asyncio.Event()
    batch = ExportJob._batch  # noqa: SLF001 - where a stall hurts

    async def stall(self: ExportJob, owner_id: UUID, last: UUID | None) -> Any:
        if last is not None and not stalled.is_set():
            stalled.set()
            await go_on.wait()
        return await batch(self, owner_id, last)

    monkeypatch.setattr(ExportJob, "_batch", stall)
    monkeypatch.setattr(export_job, "BATCH_ROWS", 2)
    first = asyncio.create_task(ExportJob(db).run(await _taken(db)))
    await asyncio.wait_for(stalled.wait(), 5)
    async with staged(db) as session:
        await session.execute(text("UPDATE jobs SET run_after = now()"))
        await session.execute(text("DELETE FROM items WHERE title <> 'third'"))
    await ExportJob(db).run(await _taken(db))
    go_on.set()
    await asyncio.wait([first], timeout=5)
    return export, first.exception()


async def _taken(db: Database) -> Job:
    [job] = await db.unit(TRY, lambda transaction: job_queries.take(transaction, [service.JOB], 1, timedelta(hours=1)))
    return job


async def test_a_stalled_run_adds_nothing_to_the_file_of_the_next(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, failure = await two_runs_at_once(settings, db, monkeypatch)
    assert isinstance(failure, LeaseLostError)
    titles = [json.loads(line)["title"] for line in (await content(db, export)).splitlines()]
    assert titles == ["third"]


async def test_without_that_guard_the_stalled_run_would_spoil_it(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_guard(*_: object) -> None:
        pass

    monkeypatch.setattr(export_job, "hold", no_guard)
    export, _ = await two_runs_at_once(settings, db, monkeypatch)
    size = (await find(db, export)).byte_count
    stored = await db.read(lambda session: _sizes(session, export.id))
    assert size != sum(stored)


async def test_an_export_that_is_given_up_says_so_without_the_reason(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Any:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(ExportJob, "_batch", broken)
    export = await ask(db, settings, await make_owner(db, "first"), "csv")
    async with working(settings, db, {service.JOB: ExportJob(db).kind}):
        await until(lambda: _state(db, export, "failed"))
        await until(lambda: _dead(db))
    failed = await find(db, export)
    assert failed.error == export_job.FAILED
    with pytest.raises(ConflictError) as refusal:
        service.finished(failed)
    assert "Retry-After" not in refusal.value.headers


async def _state(db: Database, export: Export, state: str) -> bool:
    return (await find(db, export)).state == state


async def _dead(db: Database) -> bool:
    return [row.dead_at is not None for row in await rows(db)] == [True]


async def test_no_connection_is_held_while_a_reader_is_slow(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "CHUNK_BYTES", 100)
    export = await made(db, settings, await make_owner(db, "first", "second"), "jsonl")
    reading = service.file_of(db, export)
    await anext(reading)
    assert db.connections.in_use == 0
    await reading.aclose()  # type: ignore[attr-defined] - it is a generator


async def test_a_file_that_is_purged_while_it_is_read_does_not_look_complete(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "CHUNK_BYTES", 100)
    export = await made(db, settings, await make_owner(db, "first", "second"), "jsonl")
    reading = service.file_of(db, export)
    await anext(reading)
    async with staged(db) as session:
        await session.execute(text("DELETE FROM exports"))
    with pytest.raises(TornExportError):
        await anext(reading)
