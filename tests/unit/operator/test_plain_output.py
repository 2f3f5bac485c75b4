"""What the script for images with plain Alembic is called with, and what it says: the last line is why it ended."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

import plain_alembic
import plain_commands
import plain_output
from plain_output import Failure, Output


class ExitedError(Exception):
    """In place of the process's end."""


class Written:
    """Lines on the real stdout, and the code that the process ended with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.code: int | None = None
        fake = SimpleNamespace(dup=lambda _: 7, write=self._write, _exit=self._exit)
        monkeypatch.setattr(plain_output, "os", fake)

    def _write(self, number: int, text: bytes) -> None:
        assert number == 7
        assert text.endswith(b"\n")
        self.lines.append(text.decode()[:-1])

    def _exit(self, code: int) -> NoReturn:
        self.code = code
        raise ExitedError

    @property
    def last(self) -> dict[str, Any]:
        assert self.lines[-1].startswith("slipway.dev/v1 ")
        found: dict[str, Any] = json.loads(self.lines[-1].removeprefix("slipway.dev/v1 "))
        return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


def test_people_read_sentences_and_the_operator_marked_lines(written: Written) -> None:
    for marked in (False, True):
        Output(marked=marked).say("It works.")
        Output(marked=marked).say("It waits.", "WaitingForLock")
    assert written.lines == [
        "It works.",
        "It waits.",
        'slipway.dev/v1 {"type":"working","message":"It works."}',
        'slipway.dev/v1 {"type":"waiting","reason":"WaitingForLock","message":"It waits."}',
    ]


def test_a_message_for_the_operator_has_a_thousand_characters_at_most_and_people_read_the_whole(
    written: Written,
) -> None:
    Output(marked=True).say("x" * 1001)
    assert written.last["message"] == "x" * 1000
    with pytest.raises(ExitedError):
        Output(marked=True).fail(Failure("Why", "y" * 1001))
    assert written.last == {"type": "failed", "reason": "Why", "message": "y" * 1000, "lasting": False}
    with pytest.raises(ExitedError):
        Output(marked=False).fail(Failure("Why", "y" * 1001, lasting=True), 143)
    assert (written.lines[-1], written.code) == (f"Error: {'y' * 1001} (Why)", 143)


def test_a_failure_ends_the_process_with_one_after_what_was_printed_is_out(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(flush=lambda: order.append("flushed")))
    monkeypatch.setattr(Output, "line", lambda *_, **__: order.append("line"))
    with pytest.raises(ExitedError):
        Output(marked=True).fail(Failure("Why", "x"))
    assert (order, written.code) == (["flushed", "line"], 1)

    def broken() -> None:
        raise ValueError

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(flush=broken))
    with pytest.raises(ExitedError):
        Output(marked=True).end(0, "done", "x")
    assert written.code == 0


def test_a_limit_ends_the_process_out_of_a_thread_of_its_own(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Failure] = []
    over = threading.Event()

    def fail(_: Output, error: Failure) -> None:
        ended.append(error)
        over.set()

    monkeypatch.setattr(Output, "fail", fail)
    timer = Output(marked=True).fail_after(0.0, "BudgetExceeded", "Used up.")
    assert over.wait(10)
    assert (ended[0].reason, str(ended[0]), ended[0].lasting, timer.daemon) == (
        "BudgetExceeded",
        "Used up.",
        False,
        True,
    )
    later = Output(marked=True).fail_after(3600.0, "BudgetExceeded", "x")
    assert (later.interval, later.is_alive()) == (3600.0, True)
    later.cancel()
    assert written.lines == []


def parsed(monkeypatch: pytest.MonkeyPatch, *words: str) -> argparse.Namespace:
    monkeypatch.setattr(sys, "argv", ["plain_alembic.py", *words])
    return plain_alembic.parse_arguments()


def test_without_options_everything_runs_within_an_hour_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parsed(monkeypatch, "upgrade", "--config=alembic.ini")
    assert (found.command, found.config, found.phase, found.expect) == ("upgrade", "alembic.ini", "all", [])
    assert (found.patience, found.lock_timeout, found.statement_timeout, found.budget) == (0.0, 3.0, 900.0, 3600.0)
    assert (found.marked, found.literals, found.timeout) == (False, False, None)


def test_what_is_expected_of_a_revision_is_the_last_word_after_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parsed(monkeypatch, "upgrade", "--config=x", "--expect=a:b:c", "--expect=d:e", "--marked", "--timeout=2.5")
    assert (found.expect, found.marked, found.timeout) == ([("a:b", "c"), ("d", "e")], True, 2.5)


@pytest.mark.parametrize("words", [("upgrade",), ("other", "--config=x"), ("plan", "--config=x", "--phase=contract")])
def test_arguments_that_nobody_knows_end_it_with_two_for_good(
    written: Written, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    with pytest.raises(ExitedError):
        parsed(monkeypatch, *words, "--marked")
    assert (written.code, written.last["reason"], written.last["lasting"]) == (2, "ArgumentsRefused", True)
    with pytest.raises(ExitedError):
        parsed(monkeypatch, *words)
    assert written.lines[-1].startswith("Error: ")


class Commands:
    """What a command makes of image and runner; all is noted in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.done: list[Any] = []
        self.error = error
        self.heads, self.applied, self.held_back = ("a", "b"), ["a"], ["c"]
        monkeypatch.setattr(plain_commands, "Image", self._image)
        monkeypatch.setattr(plain_commands, "Runner", lambda *_: self)
        for name in ("wait", "plan"):
            monkeypatch.setattr(plain_commands, name, self._ending(name))

    def _image(self, path: str) -> str:
        if self.error is not None:
            raise self.error
        return f"image of {path}"

    def _ending(self, name: str) -> Any:
        def end(*_: Any, **options: Any) -> NoReturn:
            self.done.append((name, options))
            raise ExitedError

        return end

    def announce(self) -> None: ...

    def withdraw(self) -> None: ...

    def alone(self, act: Any) -> None:
        self.done.append(act.__name__)

    def upgrade(self) -> None:
        self.done.append("upgrade")

    def fail_after(self, seconds: float, reason: str, message: str) -> None:
        self.done.append((seconds, reason, message))

    def end(self, *told: Any, **fields: Any) -> NoReturn:
        self.done.append((told, fields))
        raise ExitedError

    def say(self, message: str) -> None:
        self.done.append(message)

    def run(self, command: str) -> None:
        options = argparse.Namespace(command=command, config="x", budget=7.5, timeout=3.0, literals=True)
        # What ends the process isn't raised there: in the fakes it is.
        with pytest.raises((ExitedError, Failure)):
            plain_commands.run(options, self)  # type: ignore[arg-type]


BUDGET = (7.5, "BudgetExceeded", "The budget of 7.5 s is used up. What was done stays; run it again.")
END = ((0, "done", "Applied: a. Contracts left: c."), {"current": "a,b", "applied": ["a"], "held_back": ["c"]})


@pytest.mark.parametrize(
    ("command", "done"),
    [
        ("wait", [("wait", {})]),
        ("plan", [BUDGET, ("plan", {"literals": True})]),
        ("upgrade", ["It begins.", BUDGET, "upgrade", END]),
        ("announce", ["It begins.", BUDGET, "announce", END]),
        ("withdraw", ["It begins.", BUDGET, "withdraw", END]),
    ],
)
def test_each_command_does_what_it_says_within_its_budget_and_the_gate_without_one(
    monkeypatch: pytest.MonkeyPatch, command: str, done: list[Any]
) -> None:
    found = Commands(monkeypatch)
    found.run(command)
    assert found.done == done


def test_a_run_that_had_nothing_to_do_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Commands(monkeypatch)
    found.applied, found.held_back = [], []
    found.run("upgrade")
    assert found.done[-1][0][2] == "Applied: nothing. Contracts left: none."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Failure("Why", "x"), "Why"),
        (ValueError("a-secret"), "MigrationFailed"),
        (SystemExit("a-secret"), "MigrationFailed"),
    ],
)
def test_what_the_image_s_code_raises_is_told_without_its_words(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, reason: str
) -> None:
    commands = Commands(monkeypatch, error)
    options = argparse.Namespace(command="plan", config="x", budget=1.0)
    with pytest.raises(Failure) as raised:
        plain_commands.run(options, commands)  # type: ignore[arg-type]
    assert (raised.value.reason, "a-secret" in str(raised.value)) == (reason, False)
