"""Examples in the OpenAPI document: those that types imply, and bodies made of the examples of their fields."""

from __future__ import annotations

from typing import Any

ID = "01980d5e-2c5b-7f20-8d3a-5b1f0c9e7a42"
CURSOR = "AZgNXixbfyCNOlsfDJ56Qg"
"""What a list gives out after the row with that id."""

_OF_FORMAT: dict[str, Any] = {"uuid": ID, "date-time": "2026-11-22T12:00:00Z"}
_OF_NAME: dict[str, Any] = {"next_cursor": CURSOR, "cursor": CURSOR, "current": True, "is_active": True}
_OF_DISCOVERY: dict[str, Any] = {
    "jwks_uri": "https://api.example.com/.well-known/jwks.json",
    "token_endpoint": "https://api.example.com/api/v1/auth/token",
    "revocation_endpoint": "https://api.example.com/api/v1/auth/revoke",
    "grant_types_supported": ["password", "refresh_token"],
    "response_types_supported": [],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["EdDSA"],
    "token_endpoint_auth_methods_supported": ["none"],
    "revocation_endpoint_auth_methods_supported": ["none"],
    "claims_supported": ["aud", "exp", "iat", "iss", "jti", "sid", "sub"],
}


def add_examples(document: dict[str, Any]) -> None:
    """Give every field and parameter an example, path parameters a description, and request bodies a whole example."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    for name, schema in schemas.items():
        named = _OF_NAME | (_OF_DISCOVERY if name == "Discovery" else {})
        for field, described in schema.get("properties", {}).items():
            _add_example(described, field, named)
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"].endswith("_id"):
                    what = parameter["name"].removesuffix("_id").replace("_", " ")
                    parameter.setdefault("description", f"Id of the {what}.")
                _add_example(parameter.get("schema", {}), parameter["name"], _OF_NAME)
            for media in operation.get("requestBody", {}).get("content", {}).values():
                _add_body_example(media, schemas)


def _add_example(described: dict[str, Any], name: str, named: dict[str, Any]) -> None:
    if "examples" in described or "$ref" in described:
        return
    form = next((part["format"] for part in [described, *described.get("anyOf", [])] if "format" in part), None)
    for value in (_OF_FORMAT.get(form or ""), named.get(name), described.get("default"), described.get("const")):
        if value is not None:
            described["examples"] = [value]
            return
    choices = described.get("enum")
    if choices:
        described["examples"] = [choices[0]]


def _add_body_example(media: dict[str, Any], schemas: dict[str, Any]) -> None:
    """At the model where the body is one, else beside the schema: of a list, of one of several, of anything."""
    schema = media.get("schema", {})
    whole = example(schema, schemas)
    if whole is None:
        return
    if "$ref" in schema:
        schemas[_name(schema)].setdefault("examples", [whole])
    else:
        media.setdefault("example", whole)


def _name(schema: dict[str, Any]) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def example(schema: dict[str, Any], schemas: dict[str, Any], within: frozenset[str] = frozenset()) -> Any:
    """Made of the examples of its parts; None where they have none, or where a model is part of itself.

    Of an object, what is empty is left out, as clients would.
    """
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        name = _name(schema)
        return None if name in within else example(schemas[name], schemas, within | {name})
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        found = example(part, schemas, within)
        if found is not None:
            return found
    if "items" in schema:
        one = example(schema["items"], schemas, within)
        return None if one is None else [one]
    if "properties" in schema:
        parts = {name: example(part, schemas, within) for name, part in schema["properties"].items()}
        return {name: part for name, part in parts.items() if part not in (None, "", [])}
    return None
