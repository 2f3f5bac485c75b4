"""`create_app`: the API, its routes, its errors and the edge around it; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import slipway.exports.routes
import slipway.items.routes
import slipway.sessions.routes
import slipway.users.routes
from slipway.edge.drain import DrainState
from slipway.edge.edge import Edge
from slipway.openapi import COMMON_PROBLEMS, DESCRIPTION, TAGS, describe
from slipway.problems import (
    AppException,
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    ProblemDetail,
    UnavailableError,
    ValidationError,
    problem_body,
    problem_headers,
    responses,
)
from slipway.resources import Resources
from slipway.storage.idempotency import IdempotentReplay
from slipway.version import VERSION

_BY_STATUS: dict[int, type[AppException]] = {
    problem.status: problem
    for problem in (BadRequestError, NotFoundError, MethodNotAllowedError, PayloadTooLargeError, UnavailableError)
}


def create_app(resources: Resources, drain: DrainState | None = None) -> ASGIApp:
    """The whole API as one ASGI app, on resources that the caller opened and closes."""
    api = _fastapi(resources)
    return Edge(api, resources, drain or DrainState())


def _fastapi(resources: Resources) -> FastAPI:
    factory: Any = FastAPI
    if resources.settings.debug:
        from fastapi_offline import FastAPIOffline  # noqa: PLC0415 - only where debug is on; not in the image

        factory = FastAPIOffline
    api: FastAPI = factory(
        title="Slipway",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url="/docs" if resources.settings.debug else None,
        redoc_url="/redoc" if resources.settings.debug else None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        responses=responses(*COMMON_PROBLEMS),
        separate_input_output_schemas=False,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    api.state.resources = resources
    for domain in (slipway.users, slipway.items, slipway.sessions, slipway.exports):
        for router in domain.routes.ROUTERS:
            api.include_router(router)
    api.add_api_route("/health", health, tags=["health"], summary="Is the API there?")
    describe(api)
    api.add_exception_handler(AppException, _app_exception)
    api.add_exception_handler(RequestValidationError, _request_validation)
    api.add_exception_handler(HTTPException, _http_exception)
    api.add_exception_handler(IdempotentReplay, _replay)
    return api


async def health() -> dict[str, str]:
    """Answers without looking at anything else; the ops port tells more."""
    return {"status": "healthy"}


def problem_response(request: Request, problem: AppException) -> Response:
    body = problem_body(problem, request.scope["state"]["request_id"])
    response = Response(body, problem.status)
    response.raw_headers = problem_headers(problem, body)
    return response


async def _app_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppException)  # noqa: S101 - registered for it
    return problem_response(request, error)


async def _request_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    return problem_response(request, ValidationError(details=validation_details(error.errors())))


def validation_details(faults: Sequence[Any]) -> list[ProblemDetail]:
    """Where and what, without what was sent: it may be a password."""
    return [
        ProblemDetail(location=".".join(str(part) for part in fault["loc"]), message=str(fault["msg"]))
        for fault in faults
    ]


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kind = _BY_STATUS.get(error.status_code, BadRequestError)
    problem = kind()
    problem.headers.update(error.headers or {})
    return problem_response(request, problem)


async def _replay(_: Request, error: Exception) -> Response:
    assert isinstance(error, IdempotentReplay)  # noqa: S101 - registered for it
    return error.response
