"""What every table's model shares."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import ColumnElement, DateTime, ForeignKey, Index, SQLColumnExpression, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own protocol
        str: Text(),
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text()),
    }
    # What the server computes comes back with the statement itself: asyncio has no lazy loading.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy's own protocol


def new_id() -> UUID:
    """A UUIDv7: unique, and in order of creation, so that indexes grow at their end."""
    return uuid_utils.compat.uuid7()


def words_of(first: SQLColumnExpression[str], *others: SQLColumnExpression[str]) -> ColumnElement[Any]:
    """The words of texts that are never null, for a search and for its index.

    `Index("boats_search_idx", words_of(Boat.title), postgresql_using="gin")` below the model.
    """
    whole: SQLColumnExpression[Any] = first
    for other in others:
        whole = whole.op("||")(text("' '")).op("||")(other)
    # Not literal_column: SQLAlchemy would look for the index's table by it.
    return func.to_tsvector(text("'simple'"), whole)


class OwnedRow:
    """Columns of what belongs to a user and goes with them, and the index by which each finds their own."""

    __tablename__: str

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-2)
    owner_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("users.id", ondelete="CASCADE"), sort_order=-1)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Index, ...]:
        return (Index(f"{cls.__tablename__}_owner_id_id_idx", "owner_id", "id"),)


class VersionedRow(OwnedRow):
    """Besides, those of what its owner changes."""

    version: Mapped[int] = mapped_column(default=1, sort_order=1)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=2)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=3)
