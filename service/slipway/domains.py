"""The domains of this service. To add one, import what it declares: these imports are the list, and nothing else is.

Those that are asked most stand first: a request looks through their routes in this order.
"""

from __future__ import annotations

from slipway.auth.permissions import ADMIN, defaults
from slipway.domain import Domain, composed
from slipway.users.domain import DOMAIN as USERS
from slipway.items.domain import DOMAIN as ITEMS
from slipway.sessions.domain import DOMAIN as SESSIONS
from slipway.exports.domain import DOMAIN as EXPORTS
from slipway.audit.domain import DOMAIN as AUDIT

DOMAINS = tuple(each for each in tuple(globals().values()) if isinstance(each, Domain))

SETTINGS = composed(DOMAINS)
"""The settings of a process that serves or works."""

ADMINISTRATOR = sorted([ADMIN, *defaults()])
"""The permissions of the first administrator: every domain has declared its own by now."""
