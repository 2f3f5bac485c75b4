"""The exception hierarchy and its rendering as RFC 9457 `application/problem+json`.

Every error a client sees is one of these. The body carries the standard members (`type`, `title`, `status`,
`detail`) and the project's own: `error` (a stable code), `message` (a sentence), `details` (a list), `request_id`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, Field

PROBLEM_JSON = "application/problem+json"

INVALID_TOKEN = 'Bearer realm="slipway", error="invalid_token"'  # noqa: S105 - no password
"""The challenge to a token that isn't accepted (RFC 6750)."""

NO_SNIFFING = (b"x-content-type-options", b"nosniff")
"""The header of every reply: a browser takes it for what it says it is, and for nothing else."""


class ProblemDetail(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="Where: `body.title`, `query.page`, `header.If-Match` …", examples=["body.title"])
    message: str = Field(description="What, as a sentence.", examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """The body of every reply that is an error (RFC 9457, with four members of our own)."""

    type: str = Field(description="Identifies the kind of problem.", examples=["about:blank"])
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="Same as `message`.", examples=["There is no such item."])
    error: str = Field(description="A code that doesn't change between releases.", examples=["not_found"])
    message: str = Field(description="A sentence that says what to do.", examples=["There is no such item."])
    details: list[ProblemDetail] = Field(description="What is wrong in particular; may be empty.")
    request_id: str = Field(description="Also in `X-Request-ID` and in the logs.", examples=["01980d5e2c5b7f20"])


def validation_details(faults: Sequence[Any], *within: str) -> list[ProblemDetail]:
    """Where and what of pydantic's faults, without what was sent: it may be a password."""
    return [
        ProblemDetail(location=".".join(str(part) for part in (*within, *fault["loc"])), message=str(fault["msg"]))
        for fault in faults
    ]


class OAuthProblem(Problem):
    """The body of a reply that refuses what an OAuth client sent (RFC 6749, section 5.2)."""

    error_description: str = Field(description="Same as `message`.", examples=["This is not valid: sign in again."])


class AppException(Exception):  # noqa: N818 - the name the field uses for the root of such a hierarchy
    """Something a client is told. `headers` are sent with the reply; nothing else of the exception is."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong here. The request id helps us find it."
    model: ClassVar[type[Problem]] = Problem
    media_type: ClassVar[str] = PROBLEM_JSON

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Sequence[ProblemDetail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.details = list(details)
        self.headers = dict(headers or {})
        super().__init__(self.message)


class NotFoundError(AppException):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"
    default_message = "There is nothing here."


class MethodNotAllowedError(AppException):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    default_message = "This address doesn't take that method; see the Allow header."


class ValidationError(AppException):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "validation_failed"
    default_message = "The request isn't valid; `details` says where."


class BadRequestError(AppException):
    status = HTTPStatus.BAD_REQUEST
    code = "bad_request"
    default_message = "The request can't be read."


class AuthenticationError(AppException):
    status = HTTPStatus.UNAUTHORIZED
    code = "not_authenticated"
    default_message = "Sign in first: this needs a valid access token."

    def __init__(self, message: str | None = None, *, challenge: str = 'Bearer realm="slipway"') -> None:
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class SessionEndedError(AuthenticationError):
    """A token that is valid by itself, of a session or user that is no more."""

    default_message = "This session has ended: sign in again."

    def __init__(self) -> None:
        super().__init__(challenge=INVALID_TOKEN)


class AuthorizationError(AppException):
    status = HTTPStatus.FORBIDDEN
    code = "not_authorized"
    default_message = "You may not do this."


class ConflictError(AppException):
    status = HTTPStatus.CONFLICT
    code = "conflict"
    default_message = "This clashes with what is there already."


class PreconditionFailedError(AppException):
    status = HTTPStatus.PRECONDITION_FAILED
    code = "precondition_failed"
    default_message = "It has changed since you read it: read it again, then repeat with its new ETag."


class PayloadTooLargeError(AppException):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "payload_too_large"
    default_message = "The request body is too large."


class HeadersTooLargeError(AppException):
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"
    default_message = "The request headers are too large."


class UnsupportedMediaTypeError(AppException):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    default_message = "The request body comes in a form that isn't read here."


class ExpectationFailedError(AppException):
    status = HTTPStatus.EXPECTATION_FAILED
    code = "expectation_failed"
    default_message = "The only expectation met here is 100-continue."


class RateLimitedError(AppException):
    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate_limited"
    default_message = "Too many requests: wait as long as Retry-After says."

    def __init__(
        self, message: str | None = None, *, retry_after: float, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, headers={**(headers or {}), "Retry-After": str(max(1, round(retry_after + 0.5)))})


class UnavailableError(AppException):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    default_message = "This can't be done just now; try again shortly."

    def __init__(self, message: str | None = None, *, retry_after: float = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(max(1, round(retry_after)))})


class DeadlineExceededError(UnavailableError):
    code = "deadline_exceeded"
    default_message = "This took longer than a request may take. Look whether it was done before you repeat it."


def problem_body(problem: AppException, request_id: str) -> bytes:
    """The JSON document a client reads."""
    document = _document(problem, problem.message, problem.details, request_id)
    try:
        return orjson.dumps(document)
    except TypeError:  # names of a request's members may be text that isn't Unicode; JSON's escapes can say it
        return json.dumps(document).encode("ascii")


def _document(
    kind: AppException | type[AppException], message: str, details: Sequence[ProblemDetail], request_id: str
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": kind.status.phrase,
        "status": int(kind.status),
        "detail": message,
        "error": kind.code,
        "message": message,
        "details": [detail.model_dump() for detail in details],
        "request_id": request_id,
    }
    return document | ({"error_description": message} if kind.model is OAuthProblem else {})


def problem_headers(problem: AppException, body: bytes) -> list[tuple[bytes, bytes]]:
    """The ASGI headers that go with `problem_body`."""
    headers = [(b"content-type", problem.media_type.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    return headers


def responses(*problems: type[AppException]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the errors that a route may give, for FastAPI's `responses=`."""
    described: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        reply = described.setdefault(int(problem.status), {"description": problem.default_message, "content": {}})
        reply["content"][problem.media_type] = {
            "schema": {"$ref": f"#/components/schemas/{problem.model.__name__}"},
            "example": _document(problem, problem.default_message, (), "01980d5e2c5b7f20"),
        }
    return described
