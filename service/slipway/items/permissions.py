"""What one may do with items."""

from __future__ import annotations

from typing import Annotated

from slipway.auth.dependencies import Principal, allowed
from slipway.auth.permissions import declare

READ = declare("items:read", "Read one's own items and exports.", by_default=True)
WRITE = declare("items:write", "Create and change one's own items.", by_default=True)

ItemsReader = Annotated[Principal, allowed(READ)]
ItemsWriter = Annotated[Principal, allowed(WRITE)]
