"""Asking for exports, and reading the files that came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

from slipway.exports import queries
from slipway.exports.models import Export
from slipway.exports.schemas import ExportFormat, ExportOut
from slipway.exports.settings import ExportSettings
from slipway.http.owned import Owned
from slipway.http.problems import ConflictError
from slipway.jobs.queue import JobQueue
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.models import new_id
from slipway.storage.statements import Row, one
from slipway.storage.unit import Transaction

EXPORTS = Owned(Export, ExportOut, at="/api/v1/exports", one="export", shown=queries.UNEXPIRED)

JOB = "export_items"

REQUEST = Action("exports", "request")

MOST_UNFINISHED = 5
"""Exports of one person that may wait or be made at once. Requests at the same moment may exceed it by their number."""

RETRY_AFTER = {"Retry-After": "2"}


class TornExportError(Exception):
    """The file ended early (it was purged meanwhile); the reply that was being sent must not look complete."""


async def request_export(
    transaction: Transaction, queue: JobQueue, settings: ExportSettings, owner_id: UUID, kind: ExportFormat
) -> Row:
    """Add an export and the job that makes it. Raises ConflictError when the owner has enough of them waiting."""
    waiting = one(await transaction.row(queries.UNFINISHED, owner_id=owner_id))
    if waiting.count >= MOST_UNFINISHED:
        raise ConflictError(
            f"You have {MOST_UNFINISHED} exports that aren't finished: wait for one of them.", headers=RETRY_AFTER
        )
    transaction.entry.resource = export_id = new_id()
    lifetime = timedelta(seconds=settings.export_ttl)
    export = await transaction.row(queries.ADD, id=export_id, owner_id=owner_id, format=kind, lifetime=lifetime)
    await queue.enqueue(transaction, JOB, {"export_id": str(export_id)}, dedupe_key=f"{JOB}:{export_id}")
    return one(export)


def finished(export: Export) -> Export:
    """Raises ConflictError, with Retry-After while there is something to wait for."""
    if export.state == "failed":
        raise ConflictError("This export failed: ask for another.")
    if export.state != "done":
        raise ConflictError("The file isn't made yet: try again shortly.", headers=RETRY_AFTER)
    return export


async def file_of(database: Database, export: Export) -> AsyncIterator[bytes]:
    """The file's chunks. No connection is held between them, however slowly they are taken.

    Raises TornExportError when there are fewer than the export says.
    """
    left = export.byte_count or 0
    seq = 0
    while left > 0:
        data = await _piece(database, export.id, seq)
        if data is None:
            raise TornExportError
        yield data
        seq += 1
        left -= len(data)


async def _piece(database: Database, export_id: UUID, seq: int) -> bytes | None:
    return await database.read(lambda session: queries.chunk(session, export_id, seq))
