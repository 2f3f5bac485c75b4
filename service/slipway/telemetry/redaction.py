"""Keeps secrets out of log lines, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
DEEPEST = 5

_SECRET_NAME = re.compile(r"passw|token|authorization|secret|cookie|credential|api_?key|private_?key", re.IGNORECASE)

_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^/\s:@]*:[^@\s/]*@"), f"://{REDACTED}@"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]*\.?[\w-]*"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]+"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)\b(passw\w*|\w*token|\w*secret)(['\"]?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)"),
     rf"\1\2{REDACTED}"),
    # What databases and validators quote of the values they were given:
    (re.compile(r"\[parameters: .*"), f"[parameters: {REDACTED}]"),
    (re.compile(r"(DETAIL:\s+)(Failing row contains|Key \().*"), rf"\1{REDACTED}"),
    (re.compile(r"input_value=.*?, input_type="), f"input_value={REDACTED}, input_type="),
)  # fmt: skip


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds something that mustn't be shown."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text without passwords in URLs, tokens, and the values that database and validation errors quote."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, depth: int = 0) -> Any:
    """The value with every secret field masked; nesting beyond DEEPEST is cut off."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        if depth >= DEEPEST:
            return "…"
        return {
            str(name): REDACTED if is_secret_name(str(name)) else redact(item, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return "…" if depth >= DEEPEST else [redact(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))
