"""The one table of permissions: domains declare them here, and scopes, types and defaults follow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError


class Declared(NamedTuple):
    """`by_default` says whether a new user has it."""

    description: str
    by_default: bool


_TABLE: dict[str, Declared] = {}


def declare(name: str, description: str, *, by_default: bool = False) -> str:
    """Adds a permission, such as `items:read`, and returns its name. ValueError when another one has that name."""
    declared = Declared(description, by_default)
    if _TABLE.setdefault(name, declared) != declared:
        raise ValueError(f"the permission {name} is declared twice, in two ways")
    return name


def scopes() -> dict[str, str]:
    """All of them, with what each permits."""
    return {name: declared.description for name, declared in _TABLE.items()}


def defaults() -> list[str]:
    """What a new user may do."""
    return [name for name, declared in _TABLE.items() if declared.by_default]


ADMIN = declare("admin:write", "Manage users, their permissions, sessions and items.")


def _one_of(names: Iterable[str]) -> str:
    *most, last = (f"'{name}'" for name in names)
    return f"{', '.join(most)} or {last}" if most else last


def _declared(value: str) -> str:
    if value not in _TABLE:
        raise PydanticKnownError("literal_error", {"expected": _one_of(_TABLE)})
    return value


class _Names:
    """Tells the document which ones there are, once all domains have been read."""

    @staticmethod
    def __get_pydantic_json_schema__(_core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(_TABLE)}


Permission = Annotated[str, AfterValidator(_declared), _Names]
"""One that is declared, in a body."""


def with_defaults(schema: dict[str, Any]) -> None:
    """For the JSON schema of a list of them."""
    schema["default"] = defaults()


def with_scopes(schema: dict[str, Any]) -> None:
    """For that of a list of all."""
    schema["examples"] = [sorted(_TABLE)]
