"""What others must know of the audit log."""

from __future__ import annotations

from slipway.audit.routes import router
from slipway.audit.settings import AuditSettings
from slipway.domain import Domain
from slipway.jobs.expiries import Expiry


def _retention(settings: AuditSettings) -> int:
    return settings.audit_retention


DOMAIN = Domain(
    tags={"audit": "Who did what, when and from where."},
    routers=(router,),
    settings=AuditSettings,
    expiries=(
        Expiry(
            "audit",
            "at",
            "at < now() - make_interval(secs => :lifetime)",
            lifetime=_retention,
            function="purge_audit(make_interval(secs => :lifetime), :batch)",
        ),
    ),
)
