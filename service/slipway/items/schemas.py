"""What clients send and read about items."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from slipway.http.fields import Body, Change, CleanText, Name

Title = Annotated[Name, Field(min_length=1, max_length=200, examples=["Paint the hull"])]
Text = Annotated[CleanText, Field(max_length=10_000, examples=["Two coats, red below the waterline."])]


class ItemOut(BaseModel):
    """An item as the API shows it; the ETag header carries its version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    owner_id: UUID
    title: str = Field(examples=["Paint the hull"])
    body: str = Field(examples=["Two coats, red below the waterline."])
    created_at: datetime
    updated_at: datetime


class ItemContent(Body):
    """Everything of an item that its owner decides."""

    title: Title
    body: Text = ""


class ItemPatch(Change):
    """Only what changes; at least one member."""

    title: Title | None = None
    body: Text | None = None
