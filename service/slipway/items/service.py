"""What may be done with items: owners with their own, administrators with anyone's."""

from __future__ import annotations

from sqlalchemy import literal_column
from sqlalchemy.dialects.postgresql import TSVECTOR

from slipway.http.owned import Versioned
from slipway.items.models import Item
from slipway.items.schemas import ItemOut

ITEMS = Versioned(Item, ItemOut, at="/api/v1/items", one="item", search=literal_column("items.search", TSVECTOR))
