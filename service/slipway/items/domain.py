"""What others must know of items."""

from __future__ import annotations

from slipway.domain import Domain
from slipway.items.routes import router

DOMAIN = Domain(tags={"items": "What users keep here."}, routers=(router,))
