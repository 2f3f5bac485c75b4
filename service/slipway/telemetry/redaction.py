"""Keeps secrets out of log lines, whoever wrote them, in time that grows with the text and no faster.

Text is cut first and redacted then, so there is a bound to what is looked at, and what is cut in the middle of a secret
must not show its beginning: no pattern waits for a secret's end where the text ends before it. Every repetition is
possessive (`*+`), and a match starts nowhere that an earlier attempt has read in vain: no text makes them step back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

REDACTED = "[redacted]"
CUT = "…"
DEEPEST = 5
MOST_ITEMS = 100
"""Members of a list or mapping that are shown."""
LONGEST_TEXT = 8192
"""Characters of one text that are looked at; the rest is cut off."""

_SECRET_NAME = re.compile(r"passw|token|authorization|secret|cookie|credential|api_?key|private_?key", re.IGNORECASE)

_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"://[^/\s:@]*+:[^@\s/]*+(?:@|(?<={CUT})\Z)"), f"://{REDACTED}@"),
    (re.compile(r"\beyJ[\w-]*+(?:\.[\w-]*+){0,4}+"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic) ++[\w.~+/=-]++"), rf"\1 {REDACTED}"),
    (
        re.compile(
            r"""(?isx) \b( (?=(?:(?!passw)\w)*+passw)\w++ | \w++(?:(?<=token)|(?<=secret)) )  (['"]?\s*+[=:]\s*+)
            (?: "(?:[^"\\]++|\\.)*+"? | '(?:[^'\\]++|\\.)*+'? | [^\s,;&)}\]]++ )"""
        ),
        rf"\1\2{REDACTED}",
    ),
    # What databases and validators quote of the values they were given; those of rows have line ends of their own.
    (re.compile(r"\[parameters: .*+"), f"[parameters: {REDACTED}]"),
    (
        re.compile(r"(?s)(DETAIL:\s++)(?:Failing row contains|Key \()(?:(?!\n(?:HINT|CONTEXT|\[SQL):).)*+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"input_value=(?:(?!, input_type=).)*+"), f"input_value={REDACTED}"),
)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds something that mustn't be shown."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text without passwords in URLs, tokens, and the values that database and validation errors quote.

    What is beyond `LONGEST_TEXT` characters is cut off.
    """
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + CUT
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, depth: int = 0) -> Any:
    """The value with every secret field masked; nesting beyond DEEPEST is cut off, and so is what is too much."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return CUT if depth >= DEEPEST else dict(_members(value, depth))
    if isinstance(value, list | tuple | set | frozenset):
        if depth >= DEEPEST:
            return CUT
        shown = [redact(item, depth + 1) for item in islice(value, MOST_ITEMS)]
        return shown if len(value) <= MOST_ITEMS else [*shown, CUT]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))


def _members(mapping: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for name, item in islice(mapping.items(), MOST_ITEMS):
        named = redact_text(str(name))
        yield named, REDACTED if is_secret_name(named) else redact(item, depth + 1)
    if len(mapping) > MOST_ITEMS:
        yield CUT, CUT
