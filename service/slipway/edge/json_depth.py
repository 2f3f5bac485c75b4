"""How deep a JSON document nests, found without parsing it."""

from __future__ import annotations

import json
import re
from itertools import accumulate

# Possessive, and content with a missing closing quote: one pass over any input, however it was made.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_utf8(body: bytes) -> bool:
    """Whether a parser would read the document as UTF-8, as JSON has to be: in UTF-16 and UTF-32 it would look flat."""
    return json.detect_encoding(body).startswith("utf-8")


def json_depth(body: bytes) -> int:
    """The deepest nesting of arrays and objects; 0 for a scalar. Broken JSON gets the depth a parser would reach."""
    brackets = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0))


def deeper_than(body: bytes, limit: int) -> bool:
    """Whether the document nests deeper than `limit`; most are told by counting brackets."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    return json_depth(body) > limit
