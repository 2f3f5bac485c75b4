"""What others must know of exports."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.domain import Domain
from slipway.exports.job import ExportJob
from slipway.exports.routes import router
from slipway.exports.service import JOB
from slipway.exports.settings import ExportSettings
from slipway.jobs.expiries import Below, Expiry
from slipway.jobs.kinds import Kind
from slipway.settings import Settings
from slipway.storage.engine import Database


def _kinds(_settings: Settings, database: Database) -> Mapping[str, Kind]:
    return {JOB: ExportJob(database).kind}


DOMAIN = Domain(
    tags={"exports": "All of one's items as a file, made in the background."},
    routers=(router,),
    settings=ExportSettings,
    kinds=_kinds,
    expiries=(
        Expiry("exports", "expires_at", "expires_at < now()", below=Below("export_chunks", "export_id", batch=100)),
    ),
)
