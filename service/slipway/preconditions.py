"""ETags of versioned rows, and `If-Match` on writes (RFC 9110, section 13). `If-None-Match` on reads is the edge's."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from slipway.etags import ANY, tags_of
from slipway.problems import PreconditionFailedError, ProblemDetail, ValidationError


def etag(version: int | str) -> str:
    """The strong ETag of a row's version, or of whatever else names the state that is shown."""
    return f'"{version}"'


def _if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(max_length=1024, description="Write only if the current ETag is among these.", examples=['"1"']),
    ] = None,
) -> frozenset[str] | None:
    if if_match is None:
        return None
    tags = tags_of(request.headers.getlist("if-match"))
    if tags is None:
        fault = ProblemDetail(location="header.If-Match", message='Send the ETag as it came, with its quotes: "3".')
        raise ValidationError(details=[fault])
    return None if ANY in tags else tags


IfMatch = Annotated[frozenset[str] | None, Depends(_if_match)]
"""The ETags that a write may replace; None for any."""


def require_match(wanted: frozenset[str] | None, version: int | str) -> None:
    """Raises PreconditionFailedError when the row, locked by the caller, has another version than wanted."""
    if wanted is not None and etag(version) not in wanted:
        raise PreconditionFailedError
