"""What operators decide about exports."""

from pydantic import Field

from slipway.settings import Settings


class ExportSettings(Settings):
    export_ttl: int = Field(7 * 86400, ge=60, description="How long an export can be fetched.")

    def faults(self) -> list[str]:
        if self.export_ttl > self.job_timeout:
            return super().faults()
        return [
            *super().faults(),
            f"SLIPWAY_EXPORT_TTL ({self.export_ttl} s) ends an export that may still be in the making: make it "
            f"more than SLIPWAY_JOB_TIMEOUT ({self.job_timeout:g} s).",
        ]
