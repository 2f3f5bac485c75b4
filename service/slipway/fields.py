"""Types of request fields that every domain shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, EmailStr, StringConstraints


def _without_nul(value: str) -> str:
    # PostgreSQL's text can't hold it; refused here as the client's mistake rather than met as a database error.
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    return value


CleanText = Annotated[str, AfterValidator(_without_nul)]
"""Text that PostgreSQL can store."""

Email = Annotated[EmailStr, StringConstraints(max_length=254), AfterValidator(_without_nul)]
"""An e-mail address as typed; unique regardless of case."""
