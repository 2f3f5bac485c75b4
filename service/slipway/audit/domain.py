"""What others must know of the audit log."""

from __future__ import annotations

from slipway.audit.routes import router
from slipway.domain import Domain
from slipway.jobs.expiries import Expiry

DOMAIN = Domain(
    tags={"audit": "Who did what, when and from where."},
    routers=(router,),
    expiries=(
        Expiry(
            "audit",
            "at",
            "at < now() - make_interval(secs => :lifetime)",
            lifetime=lambda settings: settings.audit_retention,
            function="purge_audit(make_interval(secs => :lifetime), :batch)",
        ),
    ),
)
