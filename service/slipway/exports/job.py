"""The job that makes an export's file, piece by piece, in bounded memory."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from slipway.exports import queries
from slipway.exports.formats import ItemRow, encode, header
from slipway.exports.schemas import ExportFormat
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.queries import hold
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.statements import Row
from slipway.storage.unit import Transaction

CHUNK_BYTES = 256 * 1024
BATCH_ROWS = 100
"""An item has 10,000 characters at most: a batch stays below 10 MB even where each is escaped."""

MAKE = Action("exports", "make")
GIVE_UP = Action("exports", "give_up")

FAILED = "The file could not be made. Ask for another export."


class ExportJob:
    """Idempotent: a second run drops what the first one left, and one that lost its job writes nothing more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.kind = Kind(self.run, self.given_up)

    async def run(self, job: Job) -> None:
        """Each item is in the file as it was when it was read; items made meanwhile may be in it or not."""
        export_id = UUID(job.payload["export_id"])

        async def begin(transaction: Transaction) -> Row | None:
            """Lock it for making it, and drop what an earlier run left; None when it is gone, or made already."""
            await hold(transaction, job)
            transaction.entry.resource = export_id
            unmade = await transaction.row(queries.LOCK_UNMADE, export_id=export_id)
            if unmade is None:
                transaction.leave_nothing()
                return None
            await transaction.row(queries.DROP_CHUNKS, export_id=export_id)
            await transaction.row(queries.BEGIN, export_id=export_id)
            return unmade

        export = await self._database.unit(MAKE, begin)
        if export is None:
            return
        pieces = _Pieces(self._database, job, export_id)
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
        export_id = UUID(job.payload["export_id"])

        async def fail(transaction: Transaction) -> None:
            await hold(transaction, job)
            transaction.entry.resource = export_id
            if await transaction.row(queries.FAIL, export_id=export_id, error=FAILED) is None:
                transaction.leave_nothing()

        await self._database.unit(GIVE_UP, fail)


class _Pieces:
    """Collects bytes and writes them as chunks, each in a transaction that holds the job."""

    def __init__(self, database: Database, job: Job, export_id: UUID) -> None:
        self._database = database
        self._job = job
        self._export_id = export_id
        self._buffer = bytearray()
        self._seq = 0
        self._size = 0

    async def add(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= CHUNK_BYTES:
            await self._write()

    async def finish(self, rows: int) -> None:
        """The last chunk and the state `done` become visible together."""
        await self._write(rows)

    async def _write(self, rows: int | None = None) -> None:
        """The next chunk; the last one where the number of `rows` is known."""
        data = bytes(self._buffer[:CHUNK_BYTES])
        size = self._size + len(data)

        async def work(transaction: Transaction) -> None:
            await hold(transaction, self._job)
            transaction.entry.resource = self._export_id
            if data:
                await transaction.row(queries.ADD_CHUNK, export_id=self._export_id, seq=self._seq, data=data)
            if rows is not None:
                await transaction.row(queries.FINISH, export_id=self._export_id, rows=rows, size=size)

        await self._database.unit(MAKE, work)
        del self._buffer[:CHUNK_BYTES]
        self._seq += 1
        self._size = size
