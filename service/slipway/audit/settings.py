"""What operators decide about the audit log."""

from pydantic import Field

from slipway.settings import Settings


class AuditSettings(Settings):
    audit_retention: int = Field(400 * 86400, ge=30 * 86400, description="How long the audit log is kept.")
