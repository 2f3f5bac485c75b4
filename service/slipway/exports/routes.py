"""`/api/v1/exports`."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from slipway.exports import service
from slipway.exports.formats import MEDIA_TYPES
from slipway.exports.parts import parts_of
from slipway.exports.schemas import ExportOut, ExportRequest
from slipway.exports.service import EXPORTS
from slipway.http.idempotency import IdempotencyKeyHeader, claim_key, key_of, remember
from slipway.http.paging import Page, PageQuery
from slipway.http.problems import AuthenticationError, AuthorizationError, ConflictError, NotFoundError, responses
from slipway.http.routing import domain_router
from slipway.items.permissions import ItemsReader
from slipway.storage.unit import Transaction
from slipway.telemetry.objectives import SloClass, counts_as

router = domain_router(EXPORTS.at, "exports", AuthenticationError, AuthorizationError)


@router.post(
    "", status_code=202, summary="Ask for an export", response_model=ExportOut, responses=responses(ConflictError)
)
@counts_as(SloClass.BULK)
async def request_export(
    request: Request, wanted: ExportRequest, user: ItemsReader, key: IdempotencyKeyHeader = None
) -> Response:
    """All of one's items as a file, made in the background; `Location` is where to look for it."""
    parts = parts_of(request)
    once = await key_of(request, user.id, key)

    async def work(transaction: Transaction) -> Response:
        await claim_key(transaction, once)
        export = await service.request_export(transaction, parts.queue, parts.settings, user.id, wanted.format)
        body = ExportOut.model_validate(export).model_dump_json()
        reply = Response(body, 202, {"Location": f"{EXPORTS.at}/{export.id}"}, "application/json")
        return await remember(transaction, once, reply)

    return await parts.database.unit(service.REQUEST, work)


@router.get("", summary="List exports")
async def list_exports(request: Request, user: ItemsReader, wanted: PageQuery) -> Page[ExportOut]:
    """One's own, oldest first, as long as their files are kept."""
    return await EXPORTS.page(request, wanted, user.id)


@router.get("/{export_id}", summary="Read an export's state", responses=responses(NotFoundError))
async def read_export(request: Request, export_id: UUID, user: ItemsReader) -> ExportOut:
    """One's own; once its state is `done`, the file is at `/file` below it."""
    return ExportOut.model_validate(await EXPORTS.visible(request, export_id, user.id))


@router.get(
    "/{export_id}/file",
    summary="Fetch an export's file",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file.",
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": "id,title,body,version,created_at,updated_at"},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"id":"…","title":"…"}'},
            },
        },
        **responses(NotFoundError, ConflictError),
    },
)
@counts_as(SloClass.BULK)
async def read_file(request: Request, export_id: UUID, user: ItemsReader) -> StreamingResponse:
    """Streamed, with its length. 409 until it is made, then with `Retry-After`; 409 without one when it failed."""
    export = service.finished(await EXPORTS.visible(request, export_id, user.id))
    return StreamingResponse(
        service.file_of(parts_of(request).database, export),
        headers={
            "Content-Length": str(export.byte_count),
            "Content-Disposition": f'attachment; filename="items-{export.id}.{export.format}"',
            "Cache-Control": "private, no-store",
        },
        media_type=MEDIA_TYPES[export.format],
    )
