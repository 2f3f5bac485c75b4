"""How often a revision is tried, and what an error ends: in time that passes by itself, without a database."""

from __future__ import annotations

import argparse
import contextlib
import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

import plain_runner
import plain_watch
from plain_image import Image
from plain_output import Failure, Output
from plain_runner import BusyError, Runner
from plain_watch import Watch

LOCKED = Failure("LockNotAvailable", "Revision a got no lock because of pid 7.")


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def say(self, message: str, reason: str = "") -> None:
        self.said.append((message, reason))


class Ran:
    """A runner, and what it slept and said. `now` is its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, patience: float = 0.0) -> None:
        self.now, self.pauses, self.told = 100.0, list[float](), Told()
        self.image = SimpleNamespace(run=lambda _: None, chain=())
        monkeypatch.setattr(plain_runner, "monotonic", lambda: self.now)
        monkeypatch.setattr(plain_runner, "sleep", self._sleep)
        monkeypatch.setattr(random, "uniform", max)
        options = argparse.Namespace(patience=patience, expect=[], phase="all", marked=True)
        self.runner = Runner(cast("Image", self.image), cast("Output", self.told), options)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    return Ran(monkeypatch)


def failing(*errors: BaseException) -> Callable[..., None]:
    """Raises one after another, and the last one for ever."""
    left = list(errors)

    def fail(*_: Any) -> None:
        raise left.pop(0) if len(left) > 1 else left[0]

    return fail


def test_a_revision_that_gets_no_lock_is_tried_thirty_times_with_pauses_that_double_up_to_ten_seconds(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ran.runner, "alone", failing(LOCKED))
    with pytest.raises(Failure, match="got no lock"):
        ran.runner.upgrade()
    assert ran.pauses == [0.5, 1, 2, 4, 8, *[10] * 24]
    assert ran.told.said[0] == (f"{LOCKED} The next try is in 0.5 s.", "WaitingForLock")


def test_half_of_a_pause_is_by_chance_so_that_two_runners_part(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", min)
    monkeypatch.setattr(ran.runner, "alone", failing(LOCKED, LOCKED, Failure("PlanChanged", "no")))
    with pytest.raises(Failure, match="no"):
        ran.runner.upgrade()
    assert ran.pauses == [0.25, 0.5]


def test_a_revision_that_went_well_gives_the_next_one_all_tries_again(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([LOCKED, LOCKED, None, LOCKED, None])

    def alone(_: Any) -> None:
        found = next(looks)
        if found is not None:
            raise found
        ran.runner._running = cast("Any", SimpleNamespace(id="a"))  # noqa: SLF001 - as its step does
        ran.runner._finished = len(ran.runner.applied) == 1  # noqa: SLF001

    monkeypatch.setattr(ran.runner, "alone", alone)
    ran.runner.upgrade()
    assert ran.pauses == [0.5, 1, 0.5]
    assert ran.runner.applied == ["a", "a"]
    assert [said for said, _ in ran.told.said if "done" in said] == ["Revision a is done."] * 2


def test_a_database_that_is_away_is_tried_until_the_patience_ends_and_once_without_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for patience, pauses in ((0.0, []), (2.0, [1.0, 1.0])):
        ran = Ran(monkeypatch, patience)
        ran.image.run = failing(ConnectionRefusedError(111, "refused"))
        with pytest.raises(Failure, match="can't be reached") as given:
            ran.runner.visit(lambda _: "")
        assert (given.value.reason, ran.pauses) == ("DatabaseUnreachable", pauses)
        assert [reason for _, reason in ran.told.said] == ["DatabaseUnreachable"] * len(pauses)


def test_another_runner_is_waited_for_beyond_all_patience_for_up_to_a_second_at_a_time(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Failure("PlanChanged", "looked at again")
    ran.image.run = failing(*[BusyError()] * 5, ends)
    with pytest.raises(Failure, match="looked at again"):
        ran.runner.visit(lambda _: "")
    assert ran.pauses == [1.0] * 5
    assert {reason for _, reason in ran.told.said} == {"WaitingForRunner"}
    monkeypatch.setattr(random, "uniform", min)
    ran.image.run = failing(BusyError(), ends)
    with pytest.raises(Failure):
        ran.runner.visit(lambda _: "")
    assert ran.pauses[5:] == [0.3]


def test_once_something_was_begun_a_connection_that_breaks_isnt_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(monkeypatch, 60.0)

    def begins(_: Any) -> None:
        ran.runner._what = "Revision a"  # noqa: SLF001 - as its step does
        raise ConnectionResetError(104, "reset")

    ran.image.run = begins
    with pytest.raises(Failure) as given:
        ran.runner.visit(lambda _: "")
    assert (given.value.reason, ran.pauses) == ("DatabaseUnreachable", [])


def error(state: str) -> Exception:
    made: Exception = type("Error", (Exception,), {"sqlstate": state, "message": "as it says"})()
    return made


@pytest.mark.parametrize(
    ("state", "reason", "lasting"),
    [
        ("42P05", "PoolerInBetween", True),
        ("26000", "PoolerInBetween", True),
        ("55P03", "LockNotAvailable", False),
        ("40P01", "LockNotAvailable", False),
        ("08006", "DatabaseUnreachable", False),
        ("57P01", "DatabaseUnreachable", False),
        ("42501", "RoleUnfit", True),
        ("42P01", "StatementFailed", False),
        ("", "MigrationFailed", False),
    ],
)
def test_what_the_server_says_has_its_reason(ran: Ran, state: str, reason: str, lasting: bool) -> None:  # noqa: FBT001 - a table's column
    ran.image.run = failing(error(state))
    with pytest.raises(Failure) as given:
        ran.runner.visit(lambda _: "")
    assert (given.value.reason, given.value.lasting) == (reason, lasting)


def test_a_right_that_a_revision_lacks_is_that_statements_failure(ran: Ran) -> None:
    def runs(_: Any) -> None:
        ran.runner._running = cast("Any", SimpleNamespace(id="a"))  # noqa: SLF001 - as its step does
        ran.runner._what = "Revision a"  # noqa: SLF001
        raise error("42501")

    ran.image.run = runs
    with pytest.raises(Failure, match=r"Revision a failed: as it says \(42501\)\.") as given:
        ran.runner.visit(lambda _: "")
    assert (given.value.reason, given.value.lasting) == ("StatementFailed", False)


@pytest.mark.parametrize("error", [None, Failure("PlanChanged", "no")])
def test_nobody_is_looked_for_in_the_way_any_more_when_a_visit_is_over(ran: Ran, error: Failure | None) -> None:
    over = threading.Event()

    def runs(_: Any) -> None:
        ran.runner._watch = cast("Any", SimpleNamespace(over=over))  # noqa: SLF001 - as its step does
        if error is not None:
            raise error

    ran.image.run = runs
    with contextlib.suppress(Failure):
        ran.runner.alone(lambda *_: "")
    assert over.is_set()


def visited(ran: Ran, *, pid: int | None = 7) -> list[str]:
    """The statements of a visit to a session whose driver tells `pid`, and the server 7."""
    executed: list[str] = []
    connection = SimpleNamespace(
        connection=SimpleNamespace(driver_connection=SimpleNamespace(info=SimpleNamespace(backend_pid=pid))),
        scalar=lambda _: 7,
        execute=lambda statement: executed.append(str(statement)),
        exec_driver_sql=executed.append,
        get_execution_options=dict,
    )
    context = SimpleNamespace(connection=connection)
    ran.image.run = lambda work: work(context)
    ran.runner._options.lock_timeout, ran.runner._options.statement_timeout = 3.0, 0.0001  # noqa: SLF001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plain_runner.event.listen", lambda *_: None)
        ran.runner.visit(lambda of: str(ran.runner.enter(of) and ""))
    return executed


def test_a_session_has_limits_of_a_millisecond_at_least_and_ends_with_a_runner_that_was_killed(ran: Ran) -> None:
    first, second, check = visited(ran)
    assert (first, second) == ("SET LOCAL lock_timeout = 3000", "SET LOCAL statement_timeout = 1")
    assert "client_connection_check_interval" in check
    assert visited(ran, pid=None), "a driver that tells no number isn't asked for one"


def test_a_session_of_another_number_has_a_pooler_in_between(ran: Ran) -> None:
    with pytest.raises(Failure, match="A pooler is between") as raised:
        visited(ran, pid=8)
    assert (raised.value.reason, raised.value.lasting) == ("PoolerInBetween", True)


class Samples:
    """A session that looks who is in the way, and the clock: `rows` at each sample, after which it is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: list[list[tuple[Any, ...]]]) -> None:
        self.now, self.left, self.told, self.rolled_back = 0.0, rows, list[tuple[float, str]](), 0
        self.dialect = SimpleNamespace(is_async=False)
        self.engine = self
        monkeypatch.setattr(plain_watch, "monotonic", lambda: self.now)
        monkeypatch.setattr("plain_watch.threading.Event", lambda: SimpleNamespace(wait=self.wait))

    def watch(self) -> Watch:
        made = Watch.__new__(Watch)
        made.start = lambda: None  # type: ignore[method-assign]
        made.__init__(cast("Any", self), lambda who: self.told.append((self.now, who)))  # type: ignore[misc]
        made.run()
        return made

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return not self.left

    def scalar(self, _: Any) -> int:
        return 1

    def connect(self) -> Samples:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detach(self) -> None:
        pass

    def execute(self, _: Any, of: dict[str, int]) -> Any:
        assert of == {"pid": 1}
        rows = self.left.pop(0)
        return SimpleNamespace(all=lambda: rows)

    def rollback(self) -> None:
        self.rolled_back += 1


BLOCKER = [(7, "app", "idle in transaction", 3)]


def test_who_is_in_the_way_is_seen_four_times_a_second_and_told_every_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = Samples(monkeypatch, [BLOCKER] * 244)
    watch = samples.watch()
    assert watch.last == "pid 7 (user app, idle in transaction, for 3 s)"
    assert samples.told == [(30.25, watch.last), (60.5, watch.last)]
    assert samples.rolled_back == 244


def test_who_is_in_the_way_only_now_and_then_is_remembered_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(monkeypatch, [*[BLOCKER] * 100, [], *[BLOCKER] * 100, []])
    watch = samples.watch()
    assert samples.told == []
    assert watch.last.startswith("pid 7")


def test_who_was_never_seen_is_gone_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Samples(monkeypatch, [[]]).watch().last == "a session that is gone by now"
