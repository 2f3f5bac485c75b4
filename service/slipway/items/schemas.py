"""What clients send and read about items."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.fields import CleanText

Title = Annotated[CleanText, Field(min_length=1, max_length=200, examples=["Paint the hull"])]
Body = Annotated[CleanText, Field(max_length=10_000, examples=["Two coats, red below the waterline."])]


class ItemOut(BaseModel):
    """An item as the API shows it; the ETag header carries its version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    owner_id: UUID
    title: str = Field(examples=["Paint the hull"])
    body: str = Field(examples=["Two coats, red below the waterline."])
    created_at: datetime
    updated_at: datetime


class ItemContent(BaseModel):
    """Everything of an item that its owner decides."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    body: Body = ""


class ItemPatch(BaseModel):
    """Only what changes; at least one member."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    title: Title | None = None
    body: Body | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ItemPatch:
        if self.title is None and self.body is None:
            raise ValueError("name at least one member to change; none of them can be null")
        return self
