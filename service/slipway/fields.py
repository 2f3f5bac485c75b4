"""Types of request fields that every domain shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, EmailStr, StringConstraints


def _storable(value: str) -> str:
    # PostgreSQL's text can't hold these; refused here as the client's mistake rather than met as a database error.
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain half of a surrogate pair")
    return value


CleanText = Annotated[str, AfterValidator(_storable)]
"""Text that PostgreSQL can store."""

Email = Annotated[EmailStr, StringConstraints(max_length=254), AfterValidator(_storable)]
"""An e-mail address as typed; unique regardless of case."""
