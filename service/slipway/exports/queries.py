"""SQL about exports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.exports.formats import ItemRow
from slipway.exports.models import Export, ExportChunk
from slipway.exports.schemas import ExportFormat
from slipway.http.paging import PageRequest
from slipway.items.models import Item
from slipway.storage.models import new_id

_UNEXPIRED = Export.expires_at > func.now()


async def get(session: AsyncSession, owner_id: UUID, export_id: UUID) -> Export | None:
    """One's own, unless its time is over."""
    statement = select(Export).where(Export.id == export_id, Export.owner_id == owner_id, _UNEXPIRED)
    return (await session.scalars(statement)).one_or_none()


async def add(session: AsyncSession, owner_id: UUID, kind: ExportFormat, lifetime: timedelta) -> Export:
    values = {"id": new_id(), "owner_id": owner_id, "format": kind, "expires_at": func.now() + lifetime}
    return (await session.scalars(insert(Export).values(values).returning(Export))).one()


async def page(session: AsyncSession, wanted: PageRequest, owner_id: UUID) -> Sequence[Export]:
    """Oldest first; one row more than wanted, so that the caller knows whether more follow."""
    statement = select(Export).where(Export.owner_id == owner_id, _UNEXPIRED).order_by(Export.id)
    if wanted.after:
        statement = statement.where(Export.id > wanted.after)
    return (await session.scalars(statement.limit(wanted.per_page + 1).offset(wanted.offset))).all()


async def count(session: AsyncSession, owner_id: UUID, *, unfinished: bool = False) -> int:
    statement = select(func.count()).select_from(Export).where(Export.owner_id == owner_id, _UNEXPIRED)
    if unfinished:
        statement = statement.where(Export.state.in_(("queued", "running")))
    return (await session.execute(statement)).scalar_one()


async def begin(session: AsyncSession, export_id: UUID) -> Export | None:
    """Lock the export for making it, and drop what an earlier run left; None when it is gone, or made already."""
    export = await session.get(Export, export_id, with_for_update=True)
    if export is None or export.state == "done":
        return None
    await session.execute(delete(ExportChunk).where(ExportChunk.export_id == export_id))
    export.state, export.error, export.finished_at = "running", None, None
    return export


async def items_after(session: AsyncSession, owner_id: UUID, last: UUID | None, limit: int) -> list[ItemRow]:
    columns = (Item.id, Item.title, Item.body, Item.version, Item.created_at, Item.updated_at)
    statement = select(*columns).where(Item.owner_id == owner_id).order_by(Item.id).limit(limit)
    if last is not None:
        statement = statement.where(Item.id > last)
    return [ItemRow(*row) for row in await session.execute(statement)]


async def add_chunk(session: AsyncSession, export_id: UUID, seq: int, data: bytes) -> None:
    session.add(ExportChunk(export_id=export_id, seq=seq, data=data))
    await session.flush()


async def finish(session: AsyncSession, export_id: UUID, *, rows: int, size: int) -> None:
    values = {"state": "done", "row_count": rows, "byte_count": size, "finished_at": func.now()}
    await session.execute(update(Export).where(Export.id == export_id).values(values))


async def fail(session: AsyncSession, export_id: UUID, error: str) -> None:
    values = {"state": "failed", "error": error, "finished_at": func.now()}
    await session.execute(update(Export).where(Export.id == export_id, Export.state != "done").values(values))


async def chunk(session: AsyncSession, export_id: UUID, seq: int) -> bytes | None:
    statement = select(ExportChunk.data).where(ExportChunk.export_id == export_id, ExportChunk.seq == seq)
    return await session.scalar(statement)
