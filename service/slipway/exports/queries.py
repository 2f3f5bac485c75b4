"""SQL about exports."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from sqlalchemy import Interval, Table, Uuid, bindparam, delete, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.exports.formats import ItemRow
from slipway.exports.models import Export, ExportChunk
from slipway.items.models import Item
from slipway.storage.statements import Statement

UNEXPIRED = Export.expires_at > func.now()
_TABLE = cast("Table", Export.__table__)
_CHUNKS = cast("Table", ExportChunk.__table__)

ADD = Statement(
    insert(_TABLE)
    .values(
        id=bindparam("id"),
        owner_id=bindparam("owner_id", type_=Uuid),
        format=bindparam("format"),
        expires_at=func.now() + bindparam("lifetime", type_=Interval),
    )
    .returning(*_TABLE.c)
)
UNFINISHED = Statement(
    select(func.count().label("count"))
    .select_from(_TABLE)
    .where(
        _TABLE.c.owner_id == bindparam("owner_id", type_=Uuid),
        UNEXPIRED,
        or_(_TABLE.c.state == "queued", _TABLE.c.state == "running"),
    )
)
"""How many of somebody's exports wait or are being made."""
_ITS_ID = _TABLE.c.id == bindparam("export_id", type_=Uuid)
LOCK_UNMADE = Statement(select(*_TABLE.c).where(_ITS_ID, _TABLE.c.state != "done").with_for_update())
BEGIN = Statement(update(_TABLE).where(_ITS_ID).values(state="running", error=null(), finished_at=null()))
DROP_CHUNKS = Statement(delete(_CHUNKS).where(_CHUNKS.c.export_id == bindparam("export_id", type_=Uuid)))
ADD_CHUNK = Statement(
    insert(_CHUNKS).values(export_id=bindparam("export_id", type_=Uuid), seq=bindparam("seq"), data=bindparam("data"))
)
FINISH = Statement(
    update(_TABLE)
    .where(_ITS_ID)
    .values(state="done", row_count=bindparam("rows"), byte_count=bindparam("size"), finished_at=func.now())
)
FAIL = Statement(
    update(_TABLE)
    .where(_ITS_ID, _TABLE.c.state != "done")
    .values(state="failed", error=bindparam("error"), finished_at=func.now())
    .returning(_TABLE.c.id)
)


async def items_after(session: AsyncSession, owner_id: UUID, last: UUID | None, limit: int) -> list[ItemRow]:
    columns = (Item.id, Item.title, Item.body, Item.version, Item.created_at, Item.updated_at)
    statement = select(*columns).where(Item.owner_id == owner_id).order_by(Item.id).limit(limit)
    if last is not None:
        statement = statement.where(Item.id > last)
    return [ItemRow(*row) for row in await session.execute(statement)]


async def chunk(session: AsyncSession, export_id: UUID, seq: int) -> bytes | None:
    statement = select(ExportChunk.data).where(ExportChunk.export_id == export_id, ExportChunk.seq == seq)
    return await session.scalar(statement)
