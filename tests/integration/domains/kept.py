"""What owners keep by `http/owned.py`, found in the document: every such resource of every domain is tested alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from slipway.app import openapi_document
from slipway.settings import Settings

DOCUMENT: dict[str, Any] = openapi_document(Settings())


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of one kind: where they are, and how one is made. `texts` are the members of a body that take any text."""

    at: str
    parameter: str
    body: dict[str, Any]
    required: frozenset[str]
    texts: tuple[str, ...]
    defaults: dict[str, Any]
    searched: bool

    @property
    def table(self) -> str:
        return self.at.rpartition("/")[2]

    @property
    def one(self) -> str:
        """The path of one of them."""
        return f"{self.at}/{{{self.parameter}}}"

    def saying(self, text: str) -> dict[str, Any]:
        """A body with that text where people would look for it."""
        return {**self.body, self.texts[0]: text}


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of the model that an operation takes; {} where it takes none."""
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if "$ref" in media["schema"]:
            schema: dict[str, Any] = DOCUMENT["components"]["schemas"][media["schema"]["$ref"].rpartition("/")[2]]
            return schema
    return {}


def _takes(operation: dict[str, Any], *names: str) -> bool:
    return set(names) <= {parameter["name"] for parameter in operation.get("parameters", [])}


def _kept() -> Iterator[Kept]:
    paths = DOCUMENT["paths"]
    for path, operations in paths.items():
        at, _, parameter = path.partition("/{")
        listed, made = paths.get(at, {}).get("get", {}), paths.get(at, {}).get("post", {})
        if not (_takes(listed, "owner_id", "cursor") and _takes(operations.get("patch", {}), "If-Match")):
            continue
        schema = body_of(made)
        required = frozenset(schema.get("required", []))
        members = schema["properties"]
        texts = [name for name, each in members.items() if each.get("type") == "string" and "format" not in each]
        yield Kept(
            at=at,
            parameter=parameter.rstrip("}"),
            # What may be left out may refer to something that isn't there.
            body={name: shown for name, shown in schema["examples"][0].items() if name in required.union(texts)},
            required=required,
            texts=tuple(sorted(texts, key=lambda name: name not in required)),
            defaults={name: each["default"] for name, each in members.items() if "default" in each},
            searched=_takes(listed, "q"),
        )


KEPT = list(_kept())
each_kept = pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.table)
