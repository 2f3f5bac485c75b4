"""`open_app`: the API, its routes, its errors and the edge around it; nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg import ForeignKeyViolationError, RestrictViolationError, UniqueViolationError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from slipway.auth.dependencies import claims_of
from slipway.auth.permissions import scopes
from slipway.auth.tokens import TokenClaims
from slipway.domains import DOMAINS
from slipway.edge.drain import DrainState
from slipway.edge.edge import Edge
from slipway.http.docs_pages import make_fastapi
from slipway.http.idempotency import IdempotentReplay
from slipway.http.openapi import DESCRIPTION, describe
from slipway.http.problems import (
    AppException,
    BadRequestError,
    ConflictError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    SessionEndedError,
    UnavailableError,
    ValidationError,
    validation_details,
)
from slipway.http.routing import add_routes, domain_router
from slipway.resources import Resources
from slipway.settings import Settings
from slipway.telemetry.logs import LineWriter
from slipway.telemetry.objectives import counts_as
from slipway.version import VERSION

liveness = domain_router("", "health")
ROUTERS = (*(router for domain in DOMAINS for router in domain.routers), liveness)
_TAGS = {name: told for domain in DOMAINS for name, told in domain.tags.items()}
_TAGS["health"] = "Whether the API is there."


@liveness.get("/health", summary="Is the API there?")
@counts_as(None)
async def health() -> dict[str, str]:
    """Answers without looking at anything else; the ops port tells more."""
    return {"status": "healthy"}


_BY_STATUS: dict[int, type[AppException]] = {
    problem.status: problem
    for problem in (BadRequestError, NotFoundError, MethodNotAllowedError, PayloadTooLargeError, UnavailableError)
}


@asynccontextmanager
async def open_app(resources: Resources, lines: LineWriter, drain: DrainState) -> AsyncIterator[Edge]:
    """The whole API as one ASGI application, on resources that the caller opened and closes."""
    api = _fastapi(resources.settings)
    api.state.resources = resources
    edge = Edge(api, resources.settings, tracing=resources.tracing, lines=lines, drain=drain)

    def has_ended(claims: TokenClaims) -> bool:
        return resources.principals.has_ended(claims.session_id, claims.user_id)

    async with edge.serving(limiter=resources.limiter, identify=resources.tokens.identify, has_ended=has_ended):
        yield edge


def openapi_document(settings: Settings) -> dict[str, Any]:
    """The OpenAPI document; needs nothing but settings."""
    return _fastapi(settings).openapi()


def _fastapi(settings: Settings) -> FastAPI:
    api = make_fastapi(
        settings,
        title="Slipway",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=[{"name": name, "description": told} for name, told in _TAGS.items()],
        redirect_slashes=False,
        separate_input_output_schemas=False,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    for router in ROUTERS:
        add_routes(api, router)
    describe(api, scopes())
    api.add_exception_handler(RequestValidationError, _request_validation)
    api.add_exception_handler(HTTPException, _http_exception)
    api.add_exception_handler(IdempotentReplay, _replay)
    for refers_to_nothing in (ForeignKeyViolationError, RestrictViolationError):
        api.add_exception_handler(refers_to_nothing, _reference)
    api.add_exception_handler(UniqueViolationError, _taken)
    return api


async def _request_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    raise ValidationError(details=validation_details(error.errors())) from None


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    problem = _BY_STATUS.get(error.status_code, BadRequestError)()
    problem.headers.update(error.headers or {})
    if isinstance(problem, MethodNotAllowedError):
        allowed = _methods(request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        problem.headers["Allow"] = allowed
    raise problem from None


def _methods(request: Request) -> str:
    """All that the address takes; the framework names the methods of its first route only."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {"OPTIONS"}.union(*(getattr(route, "methods", None) or {"GET"} for route in routes))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _replay(_: Request, error: Exception) -> Response:
    assert isinstance(error, IdempotentReplay)  # noqa: S101 - registered for it
    return error.response


async def _reference(request: Request, _: Exception) -> Response:
    """A row for a user who isn't there any more is their session's end; any other reference to nothing, a conflict.

    A process believes in a user for a moment after they were deleted, so it looks again. Names of constraints say
    nothing: a domain refers to whom it likes.
    """
    resources: Resources = request.app.state.resources
    claims = claims_of(request.scope, resources)
    resources.principals.forget([claims.session_id])
    if await resources.principals.get(claims.session_id) is None:
        raise SessionEndedError from None
    raise ConflictError("What this refers to isn't there, or something refers to it still.") from None


async def _taken(_: Request, __: Exception) -> Response:
    """What may be there only once is there already."""
    raise ConflictError from None
