"""`slipway logs`: JSON lines from standard input, as short lines for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import click

from slipway.output import is_taken
from slipway.telemetry.short import Short, fields_of, is_terminal, printable, wants_color

LONGEST_LINE = 1024 * 1024
"""Bytes of a line that are read; the rest of it is dropped, and told."""

LEVELS = ("debug", "info", "warning", "error", "critical")
INTERRUPTED = 130

_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)\s*$")
"""What `kubectl logs --timestamps` puts before a line, which has a time of its own."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a line must be to be shown; empty ones let everything pass."""

    level: int = 0
    request_id: str = ""
    path: str = ""
    status: str = ""
    grep: re.Pattern[str] | None = None

    def pass_fields(self, fields: dict[str, Any], text: str) -> bool:
        level = str(fields.get("level")).lower()
        return (
            (LEVELS.index(level) if level in LEVELS else len(LEVELS)) >= self.level
            and str(fields.get("request_id") or "").startswith(self.request_id)
            and str(fields.get("path") or "").startswith(self.path)
            and (not self.status or _status_fits(self.status, fields.get("status")))
            and self._matches(text)
        )

    def pass_text(self, text: str) -> bool:
        """What isn't JSON has no fields that could fit."""
        return not (self.level or self.request_id or self.path or self.status) and self._matches(text)

    def _matches(self, text: str) -> bool:
        return self.grep is None or self.grep.search(text) is not None


def _status_fits(wanted: str, status: object) -> bool:
    digits = f"{status:03}" if isinstance(status, int) else ""
    return len(digits) == len(wanted) and all(one in ("x", digit) for one, digit in zip(wanted, digits, strict=True))


def _pattern(_context: click.Context, _parameter: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(value) if value is not None else None
    except re.error as error:
        raise click.BadParameter(f"is no regular expression: {error}") from None


def _status(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[0-5][0-9x]{2}", value.lower()):
        raise click.BadParameter("is no status: write 404 or 5xx")
    return value.lower()


@click.command("logs")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default="debug", help="Least level shown.")
@click.option("--request-id", default="", help="Lines of this request; a beginning is enough.")
@click.option("--path", default="", help="Requests whose path begins so.")
@click.option("--status", default="", callback=_status, help="Requests answered so: 404, or 5xx.")
@click.option("--grep", callback=_pattern, help="Lines in which this regular expression is found.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours; auto: where a terminal reads and NO_COLOR isn't set.",
)
def logs(*, level: str, request_id: str, path: str, status: str, grep: re.Pattern[str] | None, color: str) -> None:
    """Show JSON log lines from standard input as short lines: kubectl logs -f deployment/slipway | slipway logs.

    What isn't JSON passes through, unless a filter but --grep is set.
    """
    if is_terminal(sys.stdin):
        raise click.UsageError("Lines come from standard input: kubectl logs deployment/slipway | slipway logs")
    filters = Filters(LEVELS.index(level.lower()), request_id, path, status, grep)
    colored = color == "always" or (color == "auto" and wants_color(sys.stdout))
    try:
        short = Short.for_stream(sys.stdout, color=colored)
        for line in shown(sys.stdin.buffer, short, filters, raw=not (colored or is_terminal(sys.stdout))):
            if not is_taken(line):
                break
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def shown(source: BinaryIO, short: Short, filters: Filters, *, raw: bool) -> Iterator[bytes]:
    """Lines to print. `raw`: what isn't JSON is given on as it is, control characters included."""
    for line in _lines(source):
        start = line.find(b"{")
        fields = fields_of(line[start:]) if start >= 0 else None
        if fields is None:
            text = line.decode("utf-8", "backslashreplace")
            if filters.pass_text(text):
                yield line + b"\n" if raw else f"{printable(text)}\n".encode()
            continue
        prefix = _STAMP.sub(b"", line[:start]).decode("utf-8", "backslashreplace").strip()
        if filters.pass_fields(fields, line.decode("utf-8", "backslashreplace")):
            yield f"{short.of_fields(fields, prefix)}\n".encode("utf-8", "backslashreplace")


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends, each of at most LONGEST_LINE bytes."""
    while line := source.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line.rstrip(b"\r\n")
            continue
        dropped = 0
        while rest := source.readline(LONGEST_LINE):
            dropped += len(rest)
            if rest.endswith(b"\n"):
                break
        yield line + f"… ({dropped} bytes more)".encode()
