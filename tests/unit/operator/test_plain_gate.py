"""How often the gate of an image with plain Alembic looks, tells and gives up: in time that passes by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

import plain_gate
from plain_decisions import Revision, Row
from plain_image import Image
from plain_output import Failure, Output

CHAIN = (Revision("a", "expand", "", ()),)
DONE = (Row("a", "expand", announced=False, applied=True),)
GONE = (Row("z", "contract", announced=True, applied=False),)


class EndedError(Exception):
    """In place of the process's end."""


@dataclass
class Looks:
    """Clock, image and output of a gate. `sees`: what it finds at a time: rows, None, or an error."""

    sees: Callable[[float], Any] = lambda _: None
    now: float = 0.0
    takes: float = 0.0
    """Seconds of a look."""
    pauses: list[float] = field(default_factory=list)
    said: list[tuple[float, str]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    cancelled: int = 0
    chain: tuple[Revision, ...] = CHAIN

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, work: Callable[[Any], str]) -> None:
        self.now += self.takes
        assert work(SimpleNamespace(connection=None)) == ""  # no revision is run

    def read_rows(self, _: Any) -> Any:
        found = self.sees(self.now)
        if isinstance(found, BaseException):
            raise found
        return found

    def say(self, message: str, reason: str) -> None:
        assert reason in message
        self.said.append((self.now, message))

    def end(self, code: int, type_: str, plain: str) -> NoReturn:
        assert (code, type_) == (0, "done")
        raise EndedError(plain)

    def fail_after(self, seconds: float, reason: str, message: str) -> Any:
        assert (reason, f"{seconds:g} s" in message) == ("DatabaseUnreachable", True)
        self.limits.append(seconds)
        return SimpleNamespace(cancel=self.cancel)

    def cancel(self) -> None:
        self.cancelled += 1

    def wait(self, timeout: float | None = None) -> None:
        plain_gate.wait(cast("Image", self), cast("Output", self), timeout)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(plain_gate, "monotonic", lambda: made.now)
    monkeypatch.setattr(plain_gate, "sleep", made.sleep)
    monkeypatch.setattr(plain_gate, "read_rows", made.read_rows)
    monkeypatch.setattr(random, "uniform", max)
    return made


def test_it_opens_at_the_first_look_that_sees_the_schema_and_says_nothing_before(looks: Looks) -> None:
    looks.sees = lambda _: DONE
    with pytest.raises(EndedError, match="has what this image needs"):
        looks.wait()
    assert (looks.said, looks.pauses) == ([], [])
    # No look outlasts a minute, and one that ended is bounded no more.
    assert (looks.limits, looks.cancelled) == ([60.0], 1)


def test_pauses_grow_from_a_quarter_of_a_second_to_three_seconds(looks: Looks) -> None:
    looks.sees = lambda now: DONE if now > 30 else None
    with pytest.raises(EndedError):
        looks.wait()
    assert looks.pauses[:3] == [0.25, 0.375, 0.5625]
    assert looks.pauses[-2:] == [3.0, 3.0]
    assert looks.cancelled == len(looks.limits) == len(looks.pauses) + 1


def test_pauses_differ_from_pod_to_pod_by_half(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", min)
    looks.sees = lambda now: DONE if now > 1 else None
    with pytest.raises(EndedError):
        looks.wait()
    assert looks.pauses[:2] == [0.125, 0.1875]


def test_what_it_waits_for_is_told_once_and_again_after_more_than_thirty_seconds(looks: Looks) -> None:
    looks.sees = lambda now: DONE if now > 70 else None
    with pytest.raises(EndedError):
        looks.wait()
    first, again, *_ = looks.said
    assert first == (0.0, "Waiting: The database has no ledger that this login may read yet. (LedgerMissing)")
    assert again[1] == first[1]
    assert 30 < again[0] <= 33
    assert len(looks.said) == 3


def test_exactly_thirty_seconds_are_not_more(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    looks.takes = 30.0
    monkeypatch.setattr(plain_gate, "sleep", lambda _: None)
    looks.sees = lambda now: DONE if now > 60 else None
    with pytest.raises(EndedError):
        looks.wait()
    assert [at for at, _ in looks.said] == [30.0]


def test_another_reason_is_told_at_once(looks: Looks) -> None:
    looks.sees = lambda now: DONE if now > 2 else () if now > 1 else ConnectionRefusedError(111, "no") if now else None
    with pytest.raises(EndedError):
        looks.wait()
    assert [message.rpartition("(")[2] for _, message in looks.said] == [
        "LedgerMissing)",
        "DatabaseUnreachable)",
        "RevisionMissing)",
    ]


def test_it_gives_up_at_its_timeout_to_the_moment_and_that_is_passing(looks: Looks) -> None:
    with pytest.raises(Failure, match="no ledger") as given:
        looks.wait(10.0)
    assert (looks.now, given.value.reason, given.value.lasting) == (10.0, "LedgerMissing", False)


def test_a_contract_of_a_later_release_is_refused_at_once_and_for_good(looks: Looks) -> None:
    looks.sees = lambda _: (*DONE, *GONE)
    with pytest.raises(Failure) as given:
        looks.wait(10.0)
    assert (looks.now, given.value.reason, given.value.lasting) == (0.0, "ContractAnnounced", True)


@pytest.mark.parametrize("error", [RuntimeError("a-secret"), SystemExit("a-secret"), FileNotFoundError(2, "no", "x")])
def test_what_is_wrong_with_env_py_isnt_waited_for(looks: Looks, error: BaseException) -> None:
    looks.sees = lambda _: error
    with pytest.raises(Failure, match=rf"env.py failed: {type(error).__name__} at") as given:
        looks.wait()
    assert (given.value.reason, "a-secret" in str(given.value)) == ("MigrationFailed", False)
