"""What a spec says of who uses its Secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.evidence.consumers import Endpoint
from slipway_operator.specs import selector_text


def endpoint_of(consumers: Mapping[str, Any]) -> Endpoint:
    """Raises SpecError. Without a selector only those count that refer to the Secret."""
    selector = selector_text(consumers["selector"]) if "selector" in consumers else ""
    return Endpoint(selector, consumers.get("port", 9090), consumers.get("path", "/keys"))
