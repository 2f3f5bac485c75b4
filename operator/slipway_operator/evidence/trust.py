"""How pods that are asked over HTTPS prove who they are: by a certificate authority and a name, never by neither."""

from __future__ import annotations

import ssl

from slipway_operator.cluster import CONFIG_MAPS, Api, ForbiddenError
from slipway_operator.evidence.consumers import Tls
from slipway_operator.evidence.document import UnusableError


async def trusted(api: Api, namespace: str, tls: Tls) -> ssl.SSLContext:
    """What believes that authority and no other. Raises UnusableError, and ApiError when it can't be read just now."""
    try:
        found = await api.get(CONFIG_MAPS, namespace, tls.config_map)
    except ForbiddenError:
        raise UnusableError("CaForbidden") from None
    text = ((found or {}).get("data") or {}).get(tls.key)
    if not text:
        raise UnusableError("CaMissing")
    try:
        return ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise UnusableError("CaUnusable") from None
