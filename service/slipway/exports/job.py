"""The job that makes an export's file, piece by piece, in bounded memory."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from slipway.exports import queries
from slipway.exports.formats import ItemRow, encode, header
from slipway.exports.models import Export
from slipway.exports.schemas import ExportFormat
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.queries import hold
from slipway.storage.engine import Database

CHUNK_BYTES = 256 * 1024
BATCH_ROWS = 100
"""An item has 10,000 characters at most: a batch stays below 10 MB even where each is escaped."""

FAILED = "The file could not be made. Ask for another export."


class ExportJob:
    """Idempotent: a second run drops what the first one left, and one that lost its job writes nothing more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.kind = Kind(self.run, self.given_up)

    async def run(self, job: Job) -> None:
        """Each item is in the file as it was when it was read; items made meanwhile may be in it or not."""
        export_id = UUID(job.payload["export_id"])
        async with self._database.transaction() as session:
            await hold(session, job)
            export = await queries.begin(session, export_id)
        if export is None:
            return
        pieces = _Pieces(self._database, job, export)
        kind = cast("ExportFormat", export.format)
        await pieces.add(header(kind))
        rows, last = 0, None
        while batch := await self._batch(export.owner_id, last):
            rows, last = rows + len(batch), batch[-1].id
            await pieces.add(encode(batch, kind))
        await pieces.finish(rows)

    async def _batch(self, owner_id: UUID, last: UUID | None) -> list[ItemRow]:
        return await self._database.read(lambda session: queries.items_after(session, owner_id, last, BATCH_ROWS))

    async def given_up(self, job: Job, _reason: str) -> None:
        """The reason is for operators; whoever waits for the file learns that there will be none."""
        async with self._database.transaction() as session:
            await hold(session, job)
            await queries.fail(session, UUID(job.payload["export_id"]), FAILED)


class _Pieces:
    """Collects bytes and writes them as chunks, each in a transaction that holds the job."""

    def __init__(self, database: Database, job: Job, export: Export) -> None:
        self._database = database
        self._job = job
        self._export_id = export.id
        self._buffer = bytearray()
        self._seq = 0
        self._size = 0

    async def add(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= CHUNK_BYTES:
            async with self._database.transaction() as session:
                await hold(session, self._job)
                await self._write(session)

    async def finish(self, rows: int) -> None:
        """The last chunk and the state `done` become visible together."""
        async with self._database.transaction() as session:
            await hold(session, self._job)
            if self._buffer:
                await self._write(session)
            await queries.finish(session, self._export_id, rows=rows, size=self._size)

    async def _write(self, session: AsyncSession) -> None:
        data = bytes(self._buffer[:CHUNK_BYTES])
        await queries.add_chunk(session, self._export_id, self._seq, data)
        del self._buffer[:CHUNK_BYTES]
        self._seq += 1
        self._size += len(data)
