"""The `exports` and `export_chunks` tables."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, func, text
from sqlalchemy.orm import Mapped, mapped_column

from slipway.storage.models import Base, OwnedRow


class Export(OwnedRow, Base):
    """A file of somebody's items: `queued`, `running`, then `done` or `failed`."""

    __tablename__ = "exports"

    format: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    row_count: Mapped[int | None]
    byte_count: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]


class ExportChunk(Base):
    """A piece of the file, CHUNK_BYTES at most; `seq` counts from 0 without a gap. Pieces end anywhere in a row."""

    __tablename__ = "export_chunks"

    export_id: Mapped[UUID] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]
