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
    "scopes_supported": ["admin:write", "items:read", "items:write"],
    "claims_supported": ["aud", "exp", "iat", "iss", "jti", "sid", "sub"],
}
_PATH_PARAMETERS = {
    "user_id": "Id of the user.",
    "item_id": "Id of the item.",
    "session_id": "Id of the session.",
    "export_id": "Id of the export.",
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
                if parameter["in"] == "path":
                    parameter.setdefault("description", _PATH_PARAMETERS[parameter["name"]])
                _add_example(parameter["schema"], parameter["name"], _OF_NAME)
            for media in operation.get("requestBody", {}).get("content", {}).values():
                schema = schemas[media["schema"]["$ref"].rpartition("/")[2]]
                schema.setdefault("examples", [body_example(schema)])


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


def body_example(schema: dict[str, Any]) -> dict[str, Any]:
    """An object from the examples of its fields; an empty default is left out, as clients would."""
    return {
        field: example
        for field, described in schema["properties"].items()
        for example in [_example_of(described)]
        if example not in (None, "")
    }


def _example_of(described: dict[str, Any]) -> Any:
    for part in (described, *described.get("anyOf", [])):
        if "examples" in part:
            return part["examples"][0]
    return None
