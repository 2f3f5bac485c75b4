"""What others must know of users."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.domain import Domain
from slipway.jobs.expiries import Expiry
from slipway.jobs.kinds import Kind
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.users.keys import JOB, KeyAddresses
from slipway.users.routes import confirmation, router


def _kinds(settings: Settings, database: Database) -> Mapping[str, Kind]:
    return {JOB: Kind(KeyAddresses(database).run, every=settings.purge_interval)}


DOMAIN = Domain(
    tags={"users": "Who may sign in, and what they may do."},
    routers=(router, confirmation),
    kinds=_kinds,
    expiries=(Expiry("email_changes", "expires_at", "expires_at < now()"),),
)
