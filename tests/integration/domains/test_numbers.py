"""Numbers that no column holds: refused by a bound, or found nowhere; never an error of the server's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from integration.conftest import SignIn
from integration.domains.kept import DOCUMENT, body_of
from slipway.auth.permissions import ADMIN, scopes
from slipway.http.paging import opaque

NUMBERS = (2**31, 2**63, -(2**63) - 1, 10**30)
LEAST, MOST = -(2**63), 2**63 - 1
CURSORS = [
    opaque(number.to_bytes(size, signed=True))
    for number in (*NUMBERS, MOST, LEAST)
    for size in (8, 16, 24)
    if number.bit_length() < size * 8
]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, each in DOCUMENT["paths"].items():
        for method, operation in each.items():
            yield method, path, operation


def unbounded(schema: Any, at: str, found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Where a number may be sent that a bigint doesn't hold; `found` are the schemas that others refer to."""
    if "$ref" in schema:
        schema = found[schema["$ref"].rpartition("/")[2]]
    least, most = schema.get("minimum", LEAST - 1), schema.get("maximum", MOST + 1)
    if schema.get("type") == "integer" and not (least >= LEAST and most <= MOST):
        yield at
    for name, member in schema.get("properties", {}).items():
        yield from unbounded(member, f"{at}.{name}", found)
    for part in (*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])):
        yield from unbounded(part, at, found)


def taken(operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((parameter["name"], parameter["schema"]) for parameter in operation.get("parameters", []))
    yield from (("body", media["schema"]) for media in operation.get("requestBody", {}).get("content", {}).values())


def test_every_number_that_clients_send_has_bounds_that_a_column_holds() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    numbers = [schema for _, _, each in operations() for _, schema in taken(each) if schema.get("type") == "integer"]
    assert len(numbers) > 5
    assert [
        f"{method} {path} {at}"
        for method, path, operation in operations()
        for name, schema in taken(operation)
        for at in unbounded(schema, name, schemas)
    ] == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer"}, ["it"]),
        ({"type": "integer", "minimum": 1}, ["it"]),
        ({"type": "integer", "minimum": 1, "maximum": 2**63}, ["it"]),
        ({"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, []),
        ({"anyOf": [{"type": "array", "items": {"$ref": "#/x/Boat"}}, {"type": "null"}]}, ["it.length"]),
    ],
)
def test_a_number_without_bounds_would_be_noticed(schema: dict[str, Any], told: list[str]) -> None:
    assert list(unbounded(schema, "it", {"Boat": {"properties": {"length": {"type": "integer"}}}})) == told


def requests(path: str, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each parameter, each member of the body, and `If-Match` as each number; a list's cursor as bytes of each."""
    for parameter in operation.get("parameters", []):
        name = parameter["name"]
        for number in (f'"{number}"' if name == "If-Match" else str(number) for number in NUMBERS):
            if parameter["in"] == "path":
                yield {"url": path.replace(f"{{{name}}}", number)}
            else:
                yield {"url": path, {"query": "params", "header": "headers"}[parameter["in"]]: {name: number}}
        if name == "cursor":
            yield from ({"url": path, "params": {name: cursor}} for cursor in CURSORS)
    for member in body_of(operation).get("properties", {}):
        yield from ({"url": path, "json": {member: number}} for number in NUMBERS)


async def test_no_number_however_great_meets_a_server_error(sign_in: SignIn) -> None:
    somebody = await sign_in(ADMIN, *scopes())
    sent: dict[str, int] = {}
    for method, path, operation in operations():
        if method == "delete" and "{" not in path:
            continue  # ends the session that asks, and takes no number
        for request in requests(path, operation):
            url = re.sub(r"{\w+}", somebody.id, request.pop("url"))
            reply = await somebody.client.request(method, url, **request)
            sent[f"{method} {url} {request}"] = reply.status_code
    assert len(sent) > 200
    assert {request: status for request, status in sent.items() if status >= 500 or status == 401} == {}
    assert {status for request, status in sent.items() if request.startswith("get") and "cursor" in request} <= {
        200,
        422,
    }
