"""The API's description as a product: what every route may answer, and the shape of problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from slipway.http.openapi_examples import add_examples
from slipway.http.problems import (
    AppException,
    BadRequestError,
    HeadersTooLargeError,
    OAuthProblem,
    PayloadTooLargeError,
    Problem,
    RateLimitedError,
    UnavailableError,
    UnsupportedMediaTypeError,
    ValidationError,
)

DESCRIPTION = """Users, their sessions and their items.

Sign in with `POST /api/v1/auth/token`, then send the access token as `Authorization: Bearer …`. The refresh token gets
the next one there (OAuth 2.0's `grant_type=refresh_token`); `POST /api/v1/auth/revoke` ends what was granted.
What isn't yours is answered like what isn't there: 404.
Errors are `application/problem+json`; quote their `request_id` when you ask about one.
Writes take `If-Match` (the ETag you read) and, on POST, `Idempotency-Key`; reads of what has an ETag take
`If-None-Match`. HEAD works wherever GET does."""

COMMON_PROBLEMS: tuple[type[AppException], ...] = (
    BadRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
    ValidationError,
    RateLimitedError,
    HeadersTooLargeError,
    AppException,
    UnavailableError,
)
"""What any route may answer."""


def describe(api: FastAPI, scopes: Mapping[str, str]) -> None:
    """Add problem schemas, scopes, examples, and the headers that every reply carries to the OpenAPI document."""
    make = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = make()
            _, schemas = models_json_schema(
                [(Problem, "serialization"), (OAuthProblem, "serialization")],
                ref_template="#/components/schemas/{model}",
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            _add_headers(document)
            for scheme in document["components"].get("securitySchemes", {}).values():
                for flow in scheme.get("flows", {}).values():
                    flow["scopes"] = dict(scopes)
            add_examples(document)
            api.openapi_schema = document
        return api.openapi_schema

    # FastAPI's documented way to extend the document.
    api.openapi = openapi  # type: ignore[method-assign]


_HEADERS: dict[str, str] = {
    "X-Request-ID": "Identifies the request in logs and traces; one's own is kept when it is sane.",
    "RateLimit-Policy": 'The limit: `"default";q=<requests>;w=<seconds>`.',
    "RateLimit": 'What is left of it: `"default";r=<requests>;t=<seconds until it is full again>`.',
    "Retry-After": "Seconds to wait before trying again.",
    "WWW-Authenticate": "How to authenticate, and what was wrong with the token.",
    "Location": "Where what was made is.",
    "ETag": "The version; send it as `If-Match` to change only this one.",
    "Idempotency-Replayed": "`true` on a reply that an earlier request with this `Idempotency-Key` got already.",
    "Cache-Control": "Who may keep the reply, and how long.",
    "Pragma": "`no-cache`: for caches that know no `Cache-Control`.",
    "Accept-Encoding": "Which content codings a request's body may have.",
    "Content-Disposition": "The name to save the file under.",
}

_HEADERS_OF_STATUS = {
    "201": ("Location",),
    "401": ("WWW-Authenticate",),
    "415": ("Accept-Encoding",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}

_HEADERS_OF_REPLY = {
    ("request_export", "202"): ("Location",),
    ("read_file", "200"): ("Content-Disposition", "Cache-Control"),
    ("read_file", "409"): ("Retry-After",),
    ("sign_in", "200"): ("Cache-Control", "Pragma"),
    ("sign_in", "400"): ("Cache-Control", "Pragma"),
    ("refresh_session", "200"): ("Cache-Control", "Pragma"),
    ("revoke_token", "200"): ("Cache-Control", "Pragma"),
    ("revoke_token", "400"): ("Cache-Control", "Pragma"),
    ("read_jwks", "200"): ("Cache-Control", "ETag"),
    ("read_configuration", "200"): ("Cache-Control", "ETag"),
}
"""By operation and status, what isn't told by the status alone."""

_NEVER_OF_HEALTH = ("413", "429")


def _add_headers(document: dict[str, Any]) -> None:
    """Name the headers that replies carry, beside those that routes declare themselves."""
    document["components"]["headers"] = {
        name: {"description": description, "schema": {"type": "string"}} for name, description in _HEADERS.items()
    }
    for path, operations in document["paths"].items():
        always = ("X-Request-ID",) if path == "/health" else ("X-Request-ID", "RateLimit-Policy", "RateLimit")
        for method, operation in operations.items():
            if path == "/health":
                for status in _NEVER_OF_HEALTH:
                    operation["responses"].pop(status, None)
            for status, response in operation["responses"].items():
                named = response.setdefault("headers", {})
                for name in (*always, *_headers_of(operation, status)):
                    named[name] = {"$ref": f"#/components/headers/{name}"}
            if method == "get" and "ETag" in operation["responses"].get("200", {}).get("headers", {}):
                _add_condition(operation)


def _add_condition(operation: dict[str, Any]) -> None:
    """What the edge does for every read of something with an ETag."""
    operation.setdefault("parameters", []).append(
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "Send the content only if its ETag isn't among these.",
            "schema": {"type": "string"},
            "example": '"0"',  # of no row: the documentation's page sends it
        }
    )
    headers = operation["responses"]["200"]["headers"]
    operation["responses"]["304"] = {"description": "It is what you have.", "headers": dict(headers)}


def _headers_of(operation: dict[str, Any], status: str) -> tuple[str, ...]:
    takes_key = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    return (
        *_HEADERS_OF_STATUS.get(status, ()),
        *_HEADERS_OF_REPLY.get((operation["operationId"], status), ()),
        *(("Idempotency-Replayed",) if takes_key and status in {"201", "202"} else ()),
    )


def versioned(status: int, *, links: dict[str, tuple[str, str]] | None = None) -> dict[int | str, dict[str, Any]]:
    """OpenAPI of a reply that shows a row: its ETag, and `links` from it: name → (operation, its path parameter)."""
    described: dict[str, Any] = {"headers": {"ETag": {"$ref": "#/components/headers/ETag"}}}
    if links:
        described["links"] = {
            name: {"operationId": operation, "parameters": {parameter: "$response.body#/id"}}
            for name, (operation, parameter) in links.items()
        }
    return {status: described}
