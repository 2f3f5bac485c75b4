"""What exports need of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

if TYPE_CHECKING:
    from slipway.exports.settings import ExportSettings
    from slipway.jobs.queue import JobQueue
    from slipway.storage.engine import Database


class ExportParts(Protocol):
    """By the names that the whole process has for them."""

    settings: ExportSettings
    database: Database
    queue: JobQueue


def parts_of(request: Request) -> ExportParts:
    return cast("ExportParts", request.app.state.resources)
