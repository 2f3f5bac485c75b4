"""The API's description as a product: what every route may answer, and the shape of problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from slipway.problems import (
    AppException,
    BadRequestError,
    HeadersTooLargeError,
    PayloadTooLargeError,
    Problem,
    RateLimitedError,
    UnavailableError,
    ValidationError,
)

DESCRIPTION = """Users, their sessions and their items.

Sign in with `POST /api/v1/auth/token`, then send the access token as `Authorization: Bearer …`.
Errors are `application/problem+json`; quote their `request_id` when you ask about one.
Writes take `If-Match` (the ETag you read) and, on POST, `Idempotency-Key`."""

TAGS: list[dict[str, Any]] = [
    {"name": "users", "description": "Who may sign in, and what they may do."},
    {"name": "items", "description": "What users keep here."},
    {"name": "auth", "description": "Sign-in, sessions and passwords."},
    {"name": "exports", "description": "All of one's items as a file, made in the background."},
    {"name": "discovery", "description": "What proxies need to check our tokens."},
    {"name": "health", "description": "Whether the API is there."},
]

COMMON_PROBLEMS: tuple[type[AppException], ...] = (
    BadRequestError,
    PayloadTooLargeError,
    ValidationError,
    RateLimitedError,
    HeadersTooLargeError,
    AppException,
    UnavailableError,
)
"""What any route may answer."""


def describe(api: FastAPI) -> None:
    """Add the problem schemas, and the headers that every reply carries, to the OpenAPI document."""
    make = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = make()
            _, schemas = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            _add_request_id(document)
            api.openapi_schema = document
        return api.openapi_schema

    # FastAPI's documented way to extend the document.
    api.openapi = openapi  # type: ignore[method-assign]


def _add_request_id(document: dict[str, Any]) -> None:
    header = {
        "description": "Identifies the request in logs and traces; one's own is kept when it is sane.",
        "schema": {"type": "string"},
    }
    document["components"].setdefault("headers", {})["X-Request-ID"] = header
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
