"""What a spec says of who uses its Secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.evidence.consumers import Endpoint, Tls
from slipway_operator.specs import SpecError, selector_text


def endpoint_of(consumers: Mapping[str, Any]) -> Endpoint:
    """Raises SpecError. Without a selector only those count that refer to the Secret."""
    selector = selector_text(consumers["selector"]) if "selector" in consumers else ""
    return Endpoint(selector, consumers.get("port", 9090), consumers.get("path", "/keys"), _tls(consumers))


def _tls(consumers: Mapping[str, Any]) -> Tls | None:
    """A connection is never weaker than what was written, and never believes just anybody."""
    authority, name = consumers.get("ca"), consumers.get("serverName")
    if consumers.get("scheme", "HTTP") == "HTTPS":
        if not authority or not name:
            raise SpecError("consumers.scheme HTTPS needs ca and serverName: whom to believe, and as whom.")
        return Tls(authority["configMapName"], name, authority.get("key", "ca.crt"))
    if authority or name:
        raise SpecError("consumers.ca and serverName are for scheme HTTPS; write that, or leave them out.")
    return None
