"""Types of request fields, and what bodies of requests have in common, for every domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    EmailStr,
    StringConstraints,
    field_validator,
    model_validator,
)

_BLANK = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf"))
"""Unicode's categories of separators, control characters and format characters (zero-width ones among them)."""
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0").union(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
"""What draws nothing although Unicode counts it among letters, marks or symbols: fillers, variation selectors."""


def _storable(value: str) -> str:
    # PostgreSQL's text can't hold these; refused here as the client's mistake rather than met as a database error.
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain half of a surrogate pair")
    return value


def _seen(value: str) -> str:
    if value and not any(category(letter) not in _BLANK and letter not in _UNSEEN for letter in value):
        raise ValueError("must not consist of blanks and invisible characters alone")
    return value


CleanText = Annotated[str, AfterValidator(_storable)]
"""Text that PostgreSQL can store."""

Name = Annotated[CleanText, AfterValidator(_seen)]
"""Text that people recognise something by: when there is any, some of it can be seen."""

Email = Annotated[EmailStr, StringConstraints(max_length=254), AfterValidator(_storable)]
"""An e-mail address as typed; unique however it is written (slipway.auth.addresses)."""


def _in_utc(value: datetime) -> datetime:
    # A day before the first year, or after the last, in UTC: neither Python nor its driver can say that.
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A date and time with its zone, which PostgreSQL can store."""


def _without_null(schema: dict[str, Any]) -> None:
    """Describe the members as they are taken: left out or given, never null."""
    for member in schema.get("properties", {}).values():
        kinds = [kind for kind in member.pop("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            member.update(kinds[0])
        elif kinds:
            member["anyOf"] = kinds
        if member.get("default", ...) is None:
            del member["default"]


class Body(BaseModel):
    """A body whose optional members, typed `X | None = None`, are left out or given: null is refused."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_null)

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("can't be null; leave it out instead")
        return value


def _of_a_change(schema: dict[str, Any]) -> None:
    _without_null(schema)
    schema["minProperties"] = 1


class Change(Body):
    """Only what changes; at least one member."""

    model_config = ConfigDict(json_schema_extra=_of_a_change)

    proofs: ClassVar[frozenset[str]] = frozenset()
    """Members that change nothing by themselves."""

    @model_validator(mode="after")
    def _changes_something(self) -> Change:
        if not self.model_fields_set - self.proofs:
            raise ValueError("name at least one member to change")
        return self
