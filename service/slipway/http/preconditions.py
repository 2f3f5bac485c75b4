"""ETags of versioned rows, and what a write may replace (RFC 9110, section 13). Conditions of reads are the edge's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from slipway.http.etags import ANY, tags_of
from slipway.http.problems import PreconditionFailedError, ProblemDetail, ValidationError


def etag(version: int | str) -> str:
    """The strong ETag of a row's version, or of whatever else names the state that is shown."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The ETags that a write may replace, and those that it may not; None where the header isn't there."""

    wanted: frozenset[str] | None = None
    unwanted: frozenset[str] | None = None


async def _preconditions(
    request: Request,
    _if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=1024,
            description="Write only if the current ETag is among these.",
            examples=['"1"'],
        ),
    ] = None,
) -> Preconditions:
    """A coroutine, though it waits for nothing: FastAPI runs a plain function in a thread."""
    return Preconditions(_tags(request, "If-Match"), _tags(request, "If-None-Match"))


def _tags(request: Request, header: str) -> frozenset[str] | None:
    lines = request.headers.getlist(header)
    if not lines:
        return None
    tags = tags_of(lines)
    if tags is None:
        fault = ProblemDetail(location=f"header.{header}", message='Send the ETag as it came, with its quotes: "3".')
        raise ValidationError(details=[fault])
    return tags


IfMatch = Annotated[Preconditions, Depends(_preconditions)]


def require_match(conditions: Preconditions, version: int | str) -> None:
    """Raises PreconditionFailedError when the row, locked by the caller, isn't in a version that may be replaced."""
    current = {etag(version), ANY}
    if (conditions.wanted is not None and current.isdisjoint(conditions.wanted)) or (
        conditions.unwanted is not None and not current.isdisjoint(conditions.unwanted)
    ):
        raise PreconditionFailedError
