"""Media types and content codings as RFC 9110 compares them (8.3.1, 8.4.1): in any case, blanks around them ignored."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

IDENTITY = "identity"


@lru_cache(maxsize=256)
def media_type(content_type: bytes) -> str:
    """`type/subtype` of a Content-Type in lower case, without its parameters."""
    return content_type.partition(b";")[0].decode("latin-1").strip().lower()


@lru_cache(maxsize=256)
def is_json(content_type: bytes) -> bool:
    """Whether FastAPI parses such a body as JSON: `application/json` and all that end in `+json`."""
    kind, _, subtype = media_type(content_type).partition("/")
    return kind == "application" and "/" not in subtype and (subtype == "json" or subtype.endswith("+json"))


def is_coded(content_encodings: Iterable[bytes]) -> bool:
    """Whether a body was compressed or coded otherwise, by all its Content-Encoding headers."""
    codings = b",".join(content_encodings).decode("latin-1").split(",")
    return not {coding.strip().lower() for coding in codings} <= {"", IDENTITY}
