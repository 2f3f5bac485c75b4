"""The OpenAPI document as a reader meets it: every part says what it is, and shows what it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from slipway.app import ROUTERS, openapi_document
from slipway.http.openapi_examples import CURSOR, ID
from slipway.http.paging import encode_cursor
from slipway.settings import Settings
from slipway.storage.models import new_id

BODIES: dict[str, Any] = {
    route.name: route.body_field.field_info.annotation
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.body_field is not None
}
"""What operations take."""
FORMS = {"sign_in", "revoke_token"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(Settings())


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method} {path}", operation


def _shows_itself(schema: dict[str, Any]) -> bool:
    if any(word in schema for word in ("examples", "format", "$ref")):
        return True
    parts = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return any(_shows_itself(part) for part in parts)


def faults(document: dict[str, Any]) -> list[str]:
    """What a reader would miss."""
    schemas = document["components"]["schemas"]
    found = [
        f"{name}.{field}: no example"
        for name, schema in schemas.items()
        for field, described in schema.get("properties", {}).items()
        if not _shows_itself(described)
    ]
    for name, operation in _operations(document):
        found += [f"{name}: {fault}" for fault in _faults_of(operation, schemas)]
    return found


def _model(media: dict[str, Any]) -> str:
    name: str = media["schema"].get("$ref", "").rpartition("/")[2]
    return name


def _faults_of(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield from (f"no {word}" for word in ("summary", "description") if not operation.get(word))
    for parameter in operation.get("parameters", []):
        if not parameter.get("description"):
            yield f"{parameter['name']} has no description"
        if not (_shows_itself(parameter["schema"]) or "example" in parameter):
            yield f"{parameter['name']} has no example"
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if "example" not in media and not schemas.get(_model(media), {}).get("examples"):
            yield "no example of its body"
    for status, reply in operation["responses"].items():
        if int(status) >= 400 and not all("example" in media for media in reply["content"].values()):
            yield f"no example of {status}"


def test_every_part_says_what_it_is_and_shows_what_it_looks_like(document: dict[str, Any]) -> None:
    assert faults(document) == []


def test_a_part_without_an_example_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr("slipway.http.openapi.add_examples", lambda _: None)
    found = faults(openapi_document(Settings()))
    assert "Discovery.jwks_uri: no example" in found
    assert "post /api/v1/items: no example of its body" in found
    assert "get /api/v1/items/{item_id}: item_id has no description" in found


def _examples(document: dict[str, Any]) -> dict[str, list[Any]]:
    schemas = document["components"]["schemas"]
    return {
        operation["operationId"]: [media["example"]] if "example" in media else schemas[_model(media)]["examples"]
        for _, operation in _operations(document)
        for media in operation.get("requestBody", {}).get("content", {}).values()
    }


@pytest.mark.parametrize("operation", BODIES)
def test_examples_of_bodies_are_accepted(document: dict[str, Any], operation: str) -> None:
    for example in _examples(document)[operation]:
        assert example
        TypeAdapter(BODIES[operation]).validate_python(example)


def test_examples_cover_every_body(document: dict[str, Any]) -> None:
    assert _examples(document).keys() == BODIES.keys() >= {"create_item", "patch_item", "sign_in", "revoke_token"}


MODELS = {
    operation: body
    for operation, body in BODIES.items()
    if isinstance(body, type) and issubclass(body, BaseModel) and operation not in FORMS
}


@pytest.mark.parametrize("operation", MODELS)
def test_null_is_refused_in_every_member_of_every_body(document: dict[str, Any], operation: str) -> None:
    model = MODELS[operation]
    [content, *_] = _examples(document)[operation]
    for member in model.model_fields:
        with pytest.raises(ValidationError) as refused:
            model.model_validate(content | {member: None})
        assert [fault["loc"] for fault in refused.value.errors()] == [(member,)]


def test_no_body_describes_a_member_as_one_that_can_be_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert [model for model in MODELS.values() if "null" in str(schemas[model.__name__]["properties"])] == []
    assert schemas["ItemPatch"]["minProperties"] == schemas["UserPatch"]["minProperties"] == 1


def test_the_example_of_a_cursor_is_one() -> None:
    assert encode_cursor(type(new_id())(ID)) == CURSOR


def _headers(document: dict[str, Any], path: str, method: str, status: str) -> set[str]:
    return set(document["paths"][path][method]["responses"][status]["headers"])


def test_replies_promise_the_headers_that_they_carry(document: dict[str, Any]) -> None:
    assert "Location" not in _headers(document, "/api/v1/auth/password-reset", "post", "202")
    assert {"Location", "Idempotency-Replayed"} <= _headers(document, "/api/v1/exports", "post", "202")
    assert {"Location", "Idempotency-Replayed", "ETag"} <= _headers(document, "/api/v1/items", "post", "201")
    for path in ("token", "refresh"):
        assert "Cache-Control" in _headers(document, f"/api/v1/auth/{path}", "post", "200")
    file = "/api/v1/exports/{export_id}/file"
    assert {"Content-Disposition", "Cache-Control"} <= _headers(document, file, "get", "200")
    assert "Retry-After" in _headers(document, file, "get", "409")
    assert "Accept-Encoding" in _headers(document, "/api/v1/items", "post", "415")
    assert not {"413", "429"} & set(document["paths"]["/health"]["get"]["responses"])
