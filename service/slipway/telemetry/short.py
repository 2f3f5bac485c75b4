"""Log lines for people: one short line a record, coloured where that is wanted; made from the JSON that programs read.

What strangers wrote (paths, messages) reaches the terminal as text only: whatever isn't printable is escaped.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO

import orjson

LONGEST_TEXT = 2_000
"""Characters shown of a message or of all other fields; tracebacks are whole."""

LONGEST_NAME = 253
"""Cells of an id, a logger, or a name in Kubernetes."""

WIDE, BEGINNING = 100, 13
"""A terminal of fewer columns shows the beginning of a request's id, in so many cells; `--request-id` takes that."""

NARROWEST_PATH = 20
"""Cells that a path keeps, however narrow the terminal is."""

_OWN = frozenset(
    ("timestamp", "level", "logger", "message", "module", "function", "line", "request_id", "user_id", "duration_ms",
     "trace_id", "span_id", "exception", "method", "path", "route", "status", "bytes", "resource")
)  # fmt: skip
_LEVELS: Final = {"DEBUG": "DEBUG", "INFO": "INFO ", "WARNING": "WARN ", "ERROR": "ERROR", "CRITICAL": "CRIT "}
_REST = len(" LEVEL " + "  ")
"""Cells of a line beside its time, what it tells, and what comes after that."""
_DIM, _RED, _GREEN, _YELLOW, _CYAN, _BRIGHT_RED = "2", "31", "32", "33", "36", "1;31"
_COLORS: Final = {"DEBUG": _DIM, "INFO": _GREEN, "WARNING": _YELLOW, "ERROR": _RED, "CRITICAL": _BRIGHT_RED}
_BY_CLASS: Final = {2: _GREEN, 3: _CYAN, 4: _YELLOW}


def wants_color(stream: TextIO) -> bool:
    """Whether it is a terminal that takes colours, and nobody said no (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a stream of a test's, a closed one
        return False


class Short:
    """Makes short lines. `fit`: paths are cut so that a line fits into the terminal, as wide as it is then."""

    def __init__(self, *, color: bool, fit: bool = False) -> None:
        self._color = color
        self._fit = fit

    @classmethod
    def for_stream(cls, stream: TextIO, *, color: bool) -> Short:
        return cls(color=color, fit=is_terminal(stream))

    def of_line(self, line: bytes) -> bytes:
        """The short form of a JSON line of ours, newline included; of anything else its printable text."""
        fields = fields_of(line)
        text = self.of_fields(fields) if fields is not None else printable(line.decode("utf-8", "backslashreplace"))
        return f"{text}\n".encode()

    def of_fields(self, fields: Mapping[str, Any], prefix: str = "") -> str:
        """A line, and below it a traceback's. `prefix` stands before it, as `kubectl logs --prefix` writes one."""
        level = str(fields.get("level"))
        told_level = self._painted(_LEVELS.get(level) or _cut(printable(level), 8), _COLORS.get(level))
        columns = shutil.get_terminal_size().columns if self._fit else None
        id_cells = LONGEST_NAME if columns is None or columns >= WIDE else BEGINNING
        # Plain texts, so that their cells can be counted, then painted.
        before = " ".join(filter(None, [printable(prefix), _time(fields.get("timestamp"))]))
        after = [_duration(fields.get("duration_ms")), _text(fields.get("request_id"), id_cells), _rest(fields)]
        tail = "  ".join(filter(None, after))
        room = None if columns is None else columns - _cells(before) - _cells(tail) - _REST
        line = f"{self._painted(before, _DIM)} {told_level} {self._what(fields, room)}"
        if tail:
            line += f"  {self._painted(tail, _DIM)}"
        return "\n".join([line, *_traceback(fields.get("exception"))])

    def _what(self, fields: Mapping[str, Any], room: int | None) -> str:
        method, status = fields.get("method"), fields.get("status")
        if isinstance(method, str) and isinstance(status, int):
            told = (
                _text(method, LONGEST_NAME),
                _text(fields.get("path"), LONGEST_TEXT),
                str(status) if status else "broken off",
            )
            path = told[1] if room is None else _cut(told[1], max(NARROWEST_PATH, room - len(told[0] + told[2]) - 2))
            return f"{told[0]} {path} {self._painted(told[2], _BY_CLASS.get(status // 100, _RED))}"
        message = _text(fields.get("message"), LONGEST_TEXT)
        resource = fields.get("resource")
        if isinstance(resource, Mapping):
            kind, *name = (_text(resource.get(part), LONGEST_NAME) for part in ("kind", "namespace", "name"))
            about = f"{kind} {'/'.join(filter(None, name))}"
        else:
            about = _text(fields.get("logger"), LONGEST_NAME)
        return f"{self._painted(f'{about}:', _CYAN)} {message}"

    def _painted(self, text: str, color: str | None) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color and color and text else text


def fields_of(line: bytes) -> dict[str, Any] | None:
    """The fields of a line that is JSON of ours, or of the operator's; None for anything else."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    ours = isinstance(found, dict) and {"timestamp", "level", "message"} <= found.keys()
    return found if ours else None


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: control characters, turns of direction, line ends."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _text(value: object, longest: int) -> str:
    return "" if value is None else _cut(printable(str(value)[: longest + 1]), longest)


def _cut(text: str, cells: int) -> str:
    """At most that many cells of a terminal; what was cut is told by `…`."""
    if _cells(text) <= cells:
        return text
    kept, left = [], cells - 1
    for one in text:
        left -= _cells(one)
        if left < 0:
            break
        kept.append(one)
    return "".join(kept) + "…"


def _cells(text: str) -> int:
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _time(value: object) -> str:
    """By the clock of whoever reads."""
    try:
        return datetime.fromisoformat(str(value)).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return _text(value, 32)


def _duration(value: object) -> str:
    return f"{value:.1f} ms" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _rest(fields: Mapping[str, Any]) -> str:
    told = (f"{name}={value}" for name, value in fields.items() if name not in _OWN and value is not None)
    return _text(" ".join(told), LONGEST_TEXT)


def _traceback(value: object) -> list[str]:
    lines = value.splitlines() if isinstance(value, str) else []
    return [f"  {printable(line)}" for line in lines]
