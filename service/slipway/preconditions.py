"""ETags of versioned rows, and `If-Match` on writes (RFC 9110, section 13)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from slipway.problems import PreconditionFailedError, ProblemDetail, ValidationError

_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*)*')


def etag(version: int) -> str:
    """The strong ETag of a row's version."""
    return f'"{version}"'


def _if_match(
    if_match: Annotated[
        str | None,
        Header(max_length=1024, description="Write only if the current ETag is among these.", examples=['"1"']),
    ] = None,
) -> frozenset[str] | None:
    if if_match is None or if_match.strip() == "*":
        return None
    if not _TAGS.fullmatch(if_match):
        fault = ProblemDetail(location="header.If-Match", message='Send the ETag as it came, with its quotes: "3".')
        raise ValidationError(details=[fault])
    # Weak tags never match strongly, so they are left out.
    return frozenset(tag.strip() for tag in if_match.split(",") if not tag.strip().startswith("W/"))


IfMatch = Annotated[frozenset[str] | None, Depends(_if_match)]
"""The ETags that a write may replace; None for any."""


def require_match(wanted: frozenset[str] | None, version: int) -> None:
    """Raises PreconditionFailedError when the row, locked by the caller, has another version than wanted."""
    if wanted is not None and etag(version) not in wanted:
        raise PreconditionFailedError
