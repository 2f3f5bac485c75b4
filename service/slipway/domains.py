"""The domains of this service. To add one, add it to `DOMAINS`: nothing else reads them one by one."""

from __future__ import annotations

from slipway.audit.domain import DOMAIN as AUDIT
from slipway.auth.permissions import ADMIN, defaults
from slipway.exports.domain import DOMAIN as EXPORTS
from slipway.items.domain import DOMAIN as ITEMS
from slipway.sessions.domain import DOMAIN as SESSIONS
from slipway.users.domain import DOMAIN as USERS

DOMAINS = (USERS, ITEMS, SESSIONS, EXPORTS, AUDIT)

ADMINISTRATOR = sorted([ADMIN, *defaults()])
"""The permissions of the first administrator: every domain has declared its own by now."""
