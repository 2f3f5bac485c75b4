"""The `jobs` table: one row a job that isn't done. A job that is done has no row."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from slipway.storage.models import Base

LIVE_DEDUPE_KEY = text("dedupe_key IS NOT NULL AND dead_at IS NULL")


class JobRow(Base):
    """`lease` is set while a worker runs the job, `dead_at` once it was given up; `run_after` is when it is due.

    For a running job `run_after` is the end of its lease: a worker that dies leaves a job that simply comes due again.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="jobs_name_check"),
        Index("jobs_due_idx", "run_after", "id", postgresql_where=text("dead_at IS NULL")),
        Index("jobs_dead_idx", "id", postgresql_where=text("dead_at IS NOT NULL")),
        Index("jobs_dedupe_key_key", "dedupe_key", unique=True, postgresql_where=LIVE_DEDUPE_KEY),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    context: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'"))
    dedupe_key: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    run_after: Mapped[datetime] = mapped_column(server_default=func.now())
    lease: Mapped[UUID | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    dead_at: Mapped[datetime | None]
