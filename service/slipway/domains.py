"""The domains of this service. To add one, add it to `DOMAINS`: nothing else reads them one by one."""

from __future__ import annotations

from slipway.exports.domain import DOMAIN as EXPORTS
from slipway.items.domain import DOMAIN as ITEMS
from slipway.sessions.domain import DOMAIN as SESSIONS
from slipway.users.domain import DOMAIN as USERS

DOMAINS = (USERS, ITEMS, SESSIONS, EXPORTS)
