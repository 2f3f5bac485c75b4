"""What clients send and read about items."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from slipway.http.fields import Body, Change, CleanText, Name
from slipway.http.owned import OwnedOut

Title = Annotated[Name, Field(min_length=1, max_length=200, examples=["Paint the hull"])]
Text = Annotated[CleanText, Field(max_length=10_000, examples=["Two coats, red below the waterline."])]


class ItemOut(OwnedOut):
    """An item as the API shows it; the ETag header carries its version."""

    title: str = Field(examples=["Paint the hull"])
    body: str = Field(examples=["Two coats, red below the waterline."])


class ItemContent(Body):
    """Everything of an item that its owner decides."""

    title: Title
    body: Text = ""


class ItemPatch(Change):
    """Only what changes; at least one member."""

    title: Title | None = None
    body: Text | None = None
