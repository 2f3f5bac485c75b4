"""The `items` table, but for its generated column `search`, which only queries name."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from slipway.storage.models import Base, VersionedRow


class Item(VersionedRow, Base):
    __tablename__ = "items"

    title: Mapped[str]
    body: Mapped[str] = mapped_column(default="")
