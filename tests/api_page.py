"""docs/api.md: every operation with its parameters and replies, and every member of a body.

python -m api_page        prints the page; `make limits` writes it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from slipway.app import openapi_document
from slipway.settings import Settings

HEAD = """# The API in short

What each operation takes and answers, from its OpenAPI document, so that a change of either shows in review; `make
limits` writes this page. Of a reply's headers only those are named that not every reply has.
"""
BOUNDS = {
    "minLength": "length ≥ {}",
    "maxLength": "length ≤ {}",
    "minItems": "entries ≥ {}",
    "maxItems": "entries ≤ {}",
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "default": "default {}",
}
EVERYWHERE = {"X-Request-ID", "RateLimit", "RateLimit-Policy"}


def page() -> str:
    document = openapi_document(Settings())
    parts = [HEAD, "| Operation | Who | Parameters | Replies |\n| --- | --- | --- | --- |"]
    parts += [f"| {' | '.join(row)} |" for row in _operations(document)]
    parts += ["\n## Members\n", "| Member | Bounds | Example |\n| --- | --- | --- |"]
    parts += [f"| {' | '.join(row)} |" for row in _members(document)]
    return "\n".join(parts) + "\n"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scopes = [scope for each in operation.get("security", []) for named in each.values() for scope in named]
            who = ", ".join(scopes) or ("signed in" if operation.get("security") else "anybody")
            taken = "; ".join(_parameter(each) for each in operation.get("parameters", []) if each["in"] != "path")
            replies = ", ".join(_reply(status, reply) for status, reply in sorted(operation["responses"].items()))
            yield f"`{method.upper()} {path}`", who, taken, replies


def _parameter(parameter: dict[str, Any]) -> str:
    bounds = _bounds(parameter["schema"])
    return f"`{parameter['name']}`" + (f" ({bounds})" if bounds else "")


def _reply(status: str, reply: dict[str, Any]) -> str:
    special = sorted(set(reply.get("headers", {})) - EVERYWHERE)
    links = sorted(f"→ {name}" for name in reply.get("links", {}))
    told = ", ".join([*special, *links])
    return f"{status} ({told})" if told else status


def _members(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        for member, described in schema.get("properties", {}).items():
            examples = [
                example for part in (described, *described.get("anyOf", [])) for example in part.get("examples", [])
            ]
            shown = ", ".join(f"`{json.dumps(example, ensure_ascii=False)}`" for example in examples)
            yield f"`{name}.{member}`", _bounds(described), shown


def _bounds(schema: dict[str, Any]) -> str:
    kinds = [schema, *schema.get("anyOf", [])]
    said = [words.format(each[name]) for each in kinds for name, words in BOUNDS.items() if each.get(name, "") != ""]
    return ", ".join(said)


if __name__ == "__main__":
    print(page(), end="")
