"""`slipway logs`: JSON lines from a pipe as short lines, filtered, one at a time, and never in a terminal's way."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slipway import logs_cli
from slipway.cli import root
from unit.test_short_lines import ACCESS, COLORS, OPERATORS, RECORD

COMMAND = [str(Path(sys.executable).parent / "slipway"), "logs"]


def _line(fields: dict[str, object], **changes: object) -> str:
    return json.dumps({**fields, **changes})


def _run(*options: str, text: str | bytes, **environment: str) -> Result:
    given = text if isinstance(text, bytes) else text.encode()
    return CliRunner(env={"NO_COLOR": "", **environment}).invoke(root, ["logs", *options], input=given)


MIXED = "\n".join([
    _line(ACCESS), _line(ACCESS, status=404, path="/docs", request_id="r-404"),
    _line(ACCESS, status=500, level="ERROR"),
    _line(RECORD), _line(OPERATORS), "Traceback of somebody else", "{not json}", "",
])  # fmt: skip


def test_json_becomes_short_and_everything_else_passes() -> None:
    done = _run(text=MIXED)
    assert done.exit_code == 0
    shown = [line[len("12:00:01.250 ") :] if line[:1].isdigit() else line for line in done.output.splitlines()]
    assert shown == [
        "INFO  GET /api/v1/items 200  12.3 ms  r-1",
        "INFO  GET /docs 404  12.3 ms  r-404",
        "ERROR GET /api/v1/items 500  12.3 ms  r-1",
        "WARN  slipway.redis: Away.  error=TimeoutError attempt=3",
        "INFO  DatabaseLogin ships/shop: Handed over.",
        "Traceback of somebody else",
        "{not json}",
    ]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--level=debug"], "0123456"),
        (["--level=warning"], "23"),
        (["--level=ERROR"], "2"),
        (["--request-id=r-4"], "1"),
        (["--path=/api"], "02"),
        (["--status=404"], "1"),
        (["--status=5xx"], "2"),
        (["--status=40x", "--path=/docs"], "1"),
        (["--grep=Away|somebody"], "35"),
        (["--grep=items", "--status=2xx"], "0"),
        (["--grep=ships"], "4"),
    ],
)
def test_filters_keep_what_fits_all_of_them(options: list[str], kept: str) -> None:
    everything = _run(text=MIXED).output.splitlines()
    assert _run(*options, text=MIXED).output.splitlines() == [everything[int(index)] for index in kept]


@pytest.mark.parametrize("options", [["--status=abc"], ["--status=4x4x"], ["--grep=("], ["--level=loud"]])
def test_a_filter_that_is_none_is_refused(options: list[str]) -> None:
    assert _run(*options, text=MIXED).exit_code == 2


@pytest.mark.parametrize(
    ("prefix", "shown"),
    [
        ("[pod/slipway-1/api] ", "[pod/slipway-1/api] "),
        ("2026-11-30T12:00:01.250123456Z ", ""),
        ("[pod/slipway-1/api] 2026-11-30T12:00:01.25+01:00 ", "[pod/slipway-1/api] "),
        ("api-1  | ", "api-1  | "),
        ("\x1b[36mslipway-1\x1b[0m api ", "\\x1b[36mslipway-1\\x1b[0m api "),
    ],
)
def test_prefixes_of_kubectl_and_its_kin_stay_without_a_second_time(prefix: str, shown: str) -> None:
    bare = _run(text=_line(ACCESS)).output
    assert _run(text=prefix + _line(ACCESS)).output == shown + bare


def test_colours_come_when_asked_for_and_then_nothing_is_obeyed() -> None:
    text = f"{_line(ACCESS)}\nplain \x1b[2J\n"
    assert "\x1b[2J" in _run(text=text).output, "a pipe gets it as it is"
    colored = _run("--color=always", text=text).output
    assert "\x1b[2J" not in colored
    assert "plain \\x1b[2J" in colored
    assert COLORS.sub("", colored).splitlines()[0] == _run("--color=never", text=text).output.splitlines()[0]


def test_a_line_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_cli, "LONGEST_LINE", 100)
    done = _run(text="x" * 1050 + "\n" + "y" * 100 + "\n" + "z" * 99 + "\n" + "w" * 100)
    lines = done.output.splitlines()
    assert lines[0] == "x" * 100 + "… (951 bytes more)"
    assert lines[1:] == ["y" * 100 + "… (1 bytes more)", "z" * 99, "w" * 100 + "… (0 bytes more)"]


def test_a_mebibyte_of_a_line_is_read() -> None:
    text = "x" * (1024 * 1024)
    assert _run(text=f"{text}y\n").output == f"{text}… (2 bytes more)\n"


def test_bytes_that_are_no_text_pass() -> None:
    done = CliRunner().invoke(root, ["logs"], input=b"\xff\xfe\r\n" + _line(ACCESS).encode() + b"\r\n")
    assert done.stdout_bytes.startswith(b"\xff\xfe\n")
    assert done.stdout_bytes.endswith(b"r-1\n")


def _started(**streams: object) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    return subprocess.Popen(COMMAND, env=environment, stdin=subprocess.PIPE, **streams)  # type: ignore[call-overload,no-any-return]


def test_each_line_is_shown_before_the_next_one_comes_and_ctrl_c_ends_it_quietly() -> None:
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process inherits what is ignored
    try:
        process = _started(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, ours)
    for number in range(2):
        process.stdin.write(_line(ACCESS, request_id=f"r-{number}").encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(f"  r-{number}\n".encode())
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (130, b"", b"")


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    process = _started(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, errors = process.communicate((_line(ACCESS) + "\n").encode() * 10, timeout=10)
    assert (process.returncode, errors) == (0, b"")


def test_at_a_terminal_it_is_coloured_cut_to_its_width_and_escaped() -> None:
    reader, writer = pty.openpty()
    process = _started(stdout=writer)
    os.close(writer)
    process.communicate(f"{_line(ACCESS, path='/' + 'a' * 500)}\nplain \x1b[2J\n".encode(), timeout=10)
    shown = os.read(reader, 8192).decode()
    os.close(reader)
    assert "\x1b[2m" in shown
    first, second = COLORS.sub("", shown).splitlines()
    assert len(first) == 80
    assert second == "plain \\x1b[2J"


def test_without_a_pipe_it_says_what_to_do() -> None:
    reader, writer = pty.openpty()
    done = subprocess.run(COMMAND, stdin=writer, capture_output=True, text=True, timeout=10, check=False)
    os.close(writer)
    os.close(reader)
    assert done.returncode == 2
    assert "kubectl logs" in done.stderr
