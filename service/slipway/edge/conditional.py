"""Replies that leave out what the client has already: 304 to `If-None-Match` (RFC 9110, sections 13.1.2 and 15.4.5)."""

from __future__ import annotations

from starlette.types import Message

from slipway.http.etags import ANY, tags_of

Headers = list[tuple[bytes, bytes]]

_OF_THE_CONTENT = frozenset(
    (
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"content-language",
        b"content-range",
        b"content-disposition",
    )
)
"""Headers that describe what a 304 doesn't carry."""


def unless_known(start: Message, asked: Headers) -> Message:
    """The start of a 200, or of a 304 in its place where the request's `If-None-Match` names its ETag.

    A malformed `If-None-Match` is no reason to refuse a read: it gets the whole reply.
    """
    headers: Headers = list(start.get("headers", ()))
    tags = tags_of(value.decode("latin-1") for name, value in headers if name == b"etag")
    known = tags_of(value.decode("latin-1") for name, value in asked if name == b"if-none-match")
    if start["status"] != 200 or not tags or not known or (ANY not in known and tags.isdisjoint(known)):  # noqa: PLR2004 - OK
        return start
    return {**start, "status": 304, "headers": [header for header in headers if header[0] not in _OF_THE_CONTENT]}
