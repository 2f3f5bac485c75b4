"""`/api/v1/audit`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BeforeValidator

from slipway.audit.filters import ACTION, RESOURCE, Filters, action_of, moment_of, resource_of
from slipway.audit.parts import parts_of
from slipway.audit.queries import Place, fetch, newest
from slipway.audit.schemas import AuditEntry
from slipway.auth.dependencies import Admin
from slipway.http.fields import CleanText
from slipway.http.openapi_examples import ID
from slipway.http.paging import Page, PerPage, opaque, position
from slipway.http.problems import AuthenticationError, AuthorizationError, ProblemDetail, ValidationError
from slipway.http.routing import domain_router
from slipway.storage.audit import LONGEST_REQUEST_ID
from slipway.telemetry.objectives import SloClass, counts_as

CURSOR = "AAZg3Dd40AABmA1eLFt_II06Wx8MnnpC"
"""What this list gives out after an entry of the documentation's example."""

router = domain_router("/api/v1/audit", "audit", AuthenticationError, AuthorizationError)

When = Annotated[datetime, BeforeValidator(moment_of)]


def _of_form(pattern: str, example: str, description: str) -> Any:
    return Query(description=description, examples=[example], json_schema_extra={"pattern": f"^{pattern}$"})


async def filters(
    actor: Annotated[UUID | None, Query(description="Who did it.")] = None,
    action: Annotated[
        Annotated[str, AfterValidator(action_of)] | None, _of_form(ACTION, "items.create", "What was done.")
    ] = None,
    resource: Annotated[
        Annotated[str, AfterValidator(resource_of)] | None,
        _of_form(RESOURCE, f"items/{ID}", "With what it was done."),
    ] = None,
    request_id: Annotated[
        CleanText | None,
        Query(max_length=LONGEST_REQUEST_ID, description="`X-Request-ID`.", examples=["01980d5e2c5b7f20"]),
    ] = None,
    since: Annotated[When | None, Query(description="From then on.", examples=["2026-11-22T12:00:00Z"])] = None,
    until: Annotated[When | None, Query(description="Before then.", examples=["2026-11-22T13:00:00Z"])] = None,
) -> Filters:
    try:
        return Filters(actor, action, resource, request_id, since, until)
    except ValueError as error:
        fault = ProblemDetail(location="query.until", message=f"Value error, {error}")
        raise ValidationError(details=[fault]) from None


@router.get("", summary="List what was done")
@counts_as(SloClass.BULK)
async def list_audit_entries(
    request: Request,
    _: Admin,
    wanted: Annotated[Filters, Depends(filters)],
    per_page: PerPage = 20,
    cursor: Annotated[
        str | None, Query(max_length=64, description="`next_cursor` of an earlier reply.", examples=[CURSOR])
    ] = None,
) -> Page[AuditEntry]:
    """Every write that was committed, and sign-ins that were refused, the newest first; for administrators.

    Entries come in at the front meanwhile, so pages have no numbers; and what may be millions isn't counted.
    """
    after = position(cursor, Place.unpacked) if cursor else None
    rows = await fetch(parts_of(request).database, newest(wanted, after, per_page + 1))
    shown, more = rows[:per_page], len(rows) > per_page
    return Page(
        items=[AuditEntry.model_validate(row) for row in shown],
        total=None,
        page=None,
        per_page=per_page,
        next_cursor=opaque(Place.of(shown[-1]).packed()) if more else None,
    )
