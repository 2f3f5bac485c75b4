"""What clients send and read about exports."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

ExportFormat = Literal["csv", "jsonl"]


class ExportRequest(BaseModel):
    """What kind of file is wanted."""

    model_config = ConfigDict(extra="forbid")

    format: ExportFormat = Field(
        description="`csv`: a header line, then a line an item; a cell that a spreadsheet would take for a formula "
        "(it starts with `=`, `+`, `-`, `@`, a tab or a carriage return) gets a `'` in front. "
        "`jsonl`: a JSON object a line, exactly as stored.",
        examples=["csv"],
    )


class ExportOut(BaseModel):
    """An export as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    format: ExportFormat
    state: Literal["queued", "running", "done", "failed"] = Field(examples=["done"])
    row_count: int | None = Field(description="Items in the file; null until it is done.", examples=[2])
    byte_count: int | None = Field(description="Size of the file; null until it is done.", examples=[180])
    error: str | None = Field(description="Why it failed, as a sentence; else null.", examples=[None])
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime = Field(description="The file can be fetched until then.")
