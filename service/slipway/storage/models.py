"""What every table's model shares."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase


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
