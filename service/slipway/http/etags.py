"""Entity tags (RFC 9110, section 8.8.3): ours, and the lists of them that clients send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

ANY = "*"

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_EACH = re.compile(_TAG)
# Proxies that compress mark a tag: most weaken it, some name the coding in it (Apache, Caddy, lighttpd; Jetty).
_MARKED = re.compile(r'(?:W/)?(".*?)(?:(?:--?|;)(?:gzip|br|zstd|deflate))?"')


def content_tag(content: bytes) -> str:
    """The strong tag of these bytes."""
    return f'"{sha256(content).hexdigest()}"'


def tags_of(lines: Iterable[str]) -> frozenset[str] | None:
    """The tags of a header's lines as they were before a proxy marked them, or ANY alone; None when it is malformed.

    What marks a tag is left out, so the weak form of a tag of ours is that tag. Ours name a state, not its bytes, and
    never end like a content coding: so nothing else is taken for them.
    """
    value = ",".join(lines)
    if value.strip(" \t") == ANY:
        return frozenset((ANY,))
    if not _LIST.fullmatch(value):
        return None
    return frozenset(_MARKED.sub(r'\1"', tag) for tag in _EACH.findall(value))
