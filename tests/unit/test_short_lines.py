"""Log lines for people: one line a record, coloured only where that is wanted, and nothing that a terminal obeys."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.telemetry.logs import LineWriter
from slipway.telemetry.short import Short, fields_of, printable, wants_color

ACCESS = {
    "timestamp": "2026-11-30T12:00:01.250000Z", "level": "INFO", "logger": "slipway.access", "message": "request",
    "module": "access", "function": "write", "line": 0, "request_id": "r-1", "user_id": None, "duration_ms": 12.345,
    "trace_id": None, "span_id": None, "exception": None, "method": "GET", "path": "/api/v1/items", "route": None,
    "status": 200, "bytes": 10,
}  # fmt: skip
RECORD = {
    "timestamp": "2026-11-30T12:00:01.250000Z", "level": "WARNING", "logger": "slipway.redis", "message": "Away.",
    "module": "redis", "function": "call", "line": 7, "request_id": None, "user_id": None, "duration_ms": None,
    "trace_id": None, "span_id": None, "exception": None, "error": "TimeoutError", "attempt": 3,
}  # fmt: skip
OPERATORS = {
    "timestamp": "2026-11-30T12:00:01.250Z", "level": "INFO", "logger": "slipway.operator", "message": "Handed over.",
    "resource": {"kind": "DatabaseLogin", "namespace": "ships", "name": "shop"}, "exception": None,
}  # fmt: skip
COLORS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time  # noqa: PLC0415

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (ACCESS, "12:00:01.250 INFO  GET /api/v1/items 200  12.3 ms  r-1"),
        (ACCESS | {"status": 0, "level": "ERROR"}, "12:00:01.250 ERROR GET /api/v1/items broken off  12.3 ms  r-1"),
        (RECORD, "12:00:01.250 WARN  slipway.redis: Away.  error=TimeoutError attempt=3"),
        (RECORD | {"request_id": "r-2", "error": None}, "12:00:01.250 WARN  slipway.redis: Away.  r-2  attempt=3"),
        (OPERATORS, "12:00:01.250 INFO  DatabaseLogin ships/shop: Handed over."),
        (OPERATORS | {"resource": None}, "12:00:01.250 INFO  slipway.operator: Handed over."),
    ],
)
def test_a_record_is_one_short_line(fields: dict[str, object], line: str) -> None:
    assert Short(color=False).of_fields(fields) == line
    colored = Short(color=True).of_fields(fields)
    assert colored != line
    assert COLORS.sub("", colored) == line


def test_a_traceback_stands_below_its_line() -> None:
    shown = Short(color=False).of_fields(RECORD | {"exception": "Traceback:\n  File x\nValueError: \x1b[31mno\n"})
    assert shown.splitlines()[1:] == ["  Traceback:", "    File x", "  ValueError: \\x1b[31mno"]


def test_what_strangers_write_is_text() -> None:
    path = "/\x1b]0;owned\x07\x1b[2J\u202e\u2028\r\n\x00\x9b日本"
    shown = Short(color=False).of_fields(ACCESS | {"path": path, "request_id": "\x1b[1m"})
    assert shown.isprintable()
    assert "/\\x1b]0;owned\\x07\\x1b[2J\\u202e\\u2028\\r\\n\\x00\\x9b日本" in shown


@given(st.text())
def test_any_text_is_printable_then(text: str) -> None:
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


NAMES = st.sampled_from([*ACCESS, *RECORD, "resource", "other\x1b"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


@given(st.dictionaries(NAMES, VALUES))
def test_fields_of_any_kind_make_printable_lines(fields: dict[str, object]) -> None:
    shown = Short(color=False, fit=True).of_fields(fields)
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize(
    ("columns", "path"), [("80", "/aaa"), ("99", "/" + "a" * 500), ("100", "/" + "a" * 500), ("110", "/" + "日" * 500)]
)
def test_a_line_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str, path: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = Short(color=False, fit=True).of_fields(ACCESS | {"path": path, "request_id": "r" * 32})
    assert shown.endswith("  12.3 ms  " + ("r" * 32 if int(columns) >= 100 else "r" * 12 + "…"))
    cells = len(shown) + shown.count("日")
    assert cells <= int(columns)
    assert cells >= int(columns) - 1 or len(path) < 100
    assert path in shown or len(path) > 100


NO_LINES = [b"plain", b"", b"{", b"[1]", b'{"message": "x"}', b'"x"', b"\xff\xfe", b"{" * 5000, b'{"level": 1}']


@pytest.mark.parametrize(
    ("status", "code"), [(200, "32"), (304, "36"), (404, "33"), (499, "33"), (500, "31"), (0, "31"), (101, "31")]
)
def test_a_status_has_the_colour_of_its_class(status: int, code: str) -> None:
    shown = Short(color=True).of_fields(ACCESS | {"status": status})
    assert f" \x1b[{code}m{status or 'broken off'}\x1b[0m" in shown


@pytest.mark.parametrize(
    ("level", "told", "code"),
    [("DEBUG", "DEBUG", "2"), ("WARNING", "WARN ", "33"), ("ERROR", "ERROR", "31"), ("CRITICAL", "CRIT ", "1;31")],
)
def test_a_level_has_its_colour(level: str, told: str, code: str) -> None:
    assert f"\x1b[{code}m{told}\x1b[0m " in Short(color=True).of_fields(RECORD | {"level": level})


def test_names_are_cut_as_well() -> None:
    short, long = Short(color=False), "n" * 1_000
    parts = dict.fromkeys(("kind", "namespace", "name"), long)
    for fields, count in [
        (ACCESS | {"method": long, "request_id": long}, 2),
        (RECORD | {"logger": long}, 1),
        (OPERATORS | {"resource": parts, "message": ""}, 3),
    ]:
        cut = short.of_fields(fields)
        assert (cut.count("n" * 252 + "…"), "n" * 253 in cut) == (count, False)


def test_what_is_long_is_cut_and_a_traceback_is_not() -> None:
    long = "x" * 5_000
    shown = Short(color=False).of_fields(RECORD | {"message": long, "error": long, "exception": long})
    line, below = shown.split("\n")
    assert line.count("x") == 2 * 1_999 - len("error=")
    assert below == f"  {long}"


@pytest.mark.parametrize("line", NO_LINES)
def test_what_is_no_line_of_ours_stays_text(line: bytes) -> None:
    assert fields_of(line) is None
    assert Short(color=True).of_line(line).decode() == printable(line.decode("utf-8", "backslashreplace")) + "\n"


def _terminal() -> tuple[int, io.TextIOWrapper]:
    reader, writer = pty.openpty()
    return reader, os.fdopen(writer, "w")


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_writer_to_a_terminal_writes_short_lines(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *, colored: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reader, stream = _terminal()
    try:
        assert wants_color(stream) is colored
        LineWriter(stream).write(json.dumps(ACCESS).encode() + b"\n")
        shown = os.read(reader, 4096).decode()
    finally:
        stream.close()
        os.close(reader)
    assert ("\x1b[" in shown) is colored
    assert COLORS.sub("", shown) == "12:00:01.250 INFO  GET /api/v1/items 200  12.3 ms  r-1\r\n"


def test_elsewhere_a_writer_writes_the_json_as_it_is(tmp_path: Path) -> None:
    line = json.dumps(ACCESS).encode() + b"\n"
    with (tmp_path / "log").open("w") as stream:
        LineWriter(stream).write(line)
    assert (tmp_path / "log").read_bytes() == line
    memory = io.StringIO()
    LineWriter(memory).write(line)
    assert memory.getvalue().encode() == line


def test_a_service_at_a_terminal_speaks_to_a_person(tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    settings = {"SLIPWAY_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x", "SLIPWAY_PORT": "0", "SLIPWAY_OPS_PORT": "0"}
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "slipway"), "serve"],
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **settings},
        stdout=writer,
        stderr=writer,
        cwd=tmp_path,
    )
    os.close(writer)
    shown = b""
    try:
        while b"slipway." not in shown:
            shown += os.read(reader, 4096)
    finally:
        server.kill()
        server.wait()
        os.close(reader)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} (INFO|WARN|ERROR) +slipway\.", COLORS.sub("", shown.decode())), shown
    assert b"\x1b[" in shown
