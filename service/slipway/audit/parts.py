"""What the audit log needs of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

if TYPE_CHECKING:
    from slipway.storage.engine import Database


class AuditParts(Protocol):
    """By the names that the whole process has for them."""

    database: Database


def parts_of(request: Request) -> AuditParts:
    return cast("AuditParts", request.app.state.resources)
