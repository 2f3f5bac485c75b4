"""Whose time it is: the API server's, as far as its replies tell, whatever the clocks of other machines show."""

from __future__ import annotations

import logging
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_operator import clock
from slipway_operator.clock import ServerClock, reliable

HOUR = 3600.0


class Machine:
    """Time in seconds; `own`: what the machine's clock is off by. Its monotonic clock began anywhere."""

    def __init__(self, own: float = 0.0) -> None:
        self.now, self.own, self.server = 1_800_000_000.25, own, 0.0
        self.clock = ServerClock(monotonic=lambda: self.now - 1_799_990_000.0, own=lambda: self.now + self.own)

    def hear(self, took: float = 0.0) -> None:
        """A reply whose server looked at its clock somewhere on the way."""
        began = self.clock.began()
        self.now += took / 2
        date = formatdate(int(self.now + self.server), usegmt=True)
        self.now += took / 2
        self.clock.heard(date, began)

    @property
    def off(self) -> float:
        return self.clock() - self.now - self.server


@given(st.floats(-HOUR, HOUR), st.lists(st.tuples(st.floats(0, 90), st.floats(0, 3)), min_size=1, max_size=30))
def test_it_is_never_early_and_no_later_than_a_second_and_a_reply(
    own: float, replies: list[tuple[float, float]]
) -> None:
    machine = Machine(own)
    shortest = 3.0
    for pause, took in replies:
        machine.now += pause
        machine.hear(took)
        shortest = min(shortest, took)
        assert -1e-4 <= machine.off <= 1.0 + shortest + 1e-4


def test_many_replies_tell_it_more_closely_than_one() -> None:
    machine = Machine()
    machine.hear()
    first = machine.off
    for _ in range(20):
        machine.now += 2.07
        machine.hear()
    assert machine.off < 0.1 < first


def test_before_the_first_reply_and_after_one_without_a_date_it_is_the_machine_s() -> None:
    machine = Machine(own=42.0)
    assert machine.clock() == machine.now + 42
    for date in (None, "", "soon"):
        machine.clock.heard(date, machine.clock.began())
    assert machine.clock() == machine.now + 42
    assert machine.clock.skew() == 0.0


@pytest.mark.parametrize("turned", [HOUR, -HOUR, 720.0, 6.0])
def test_a_clock_that_is_set_under_the_process_changes_nothing(turned: float) -> None:
    machine = Machine()
    machine.hear()
    before = machine.off
    machine.own += turned
    assert machine.off == before
    machine.now += 60
    assert machine.off == pytest.approx(before)


@pytest.mark.parametrize(("own", "where"), [(720.0, "ahead of"), (-720.0, "behind")])
def test_a_node_whose_clock_differs_is_told(own: float, where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine(own)
    machine.hear()
    machine.hear()
    found = machine.clock.condition()
    assert (found.type, found.status, found.reason) == ("ClockSkewed", "True", "NodeClockDiffers")
    assert where in found.message
    assert machine.clock.skew() == pytest.approx(own, abs=1.1)
    assert sum("NodeClockDiffers" in record.getMessage() for record in caplog.records) == 1
    machine.own = 0.0
    machine.hear()
    assert machine.clock.condition().status == "False"


@pytest.mark.parametrize("own", [4.9, -4.9, 0.0])
def test_five_seconds_are_none_to_speak_of(own: float) -> None:
    machine = Machine(own)
    machine.hear()
    assert machine.clock.condition().status == "False"


def test_six_seconds_are() -> None:
    machine = Machine(own=6.1)
    machine.hear()
    assert machine.clock.condition().status == "True"


def test_a_server_whose_clock_is_set_ahead_is_told_of_and_makes_no_wait_shorter() -> None:
    machine = Machine()
    machine.hear()
    at, began = machine.clock(), machine.now
    machine.server = 720.0
    for _ in range(10):
        machine.now += 2
        machine.hear()
    assert machine.clock() - at == pytest.approx(machine.now - began)
    assert machine.clock.condition().reason == "ServerClockJumped"


def test_of_servers_whose_clocks_differ_the_slowest_counts_and_that_they_differ_is_told_all_the_time() -> None:
    machine = Machine()
    machine.server = 7.0
    machine.hear()
    said = []
    for number in range(20):
        machine.server = 7.0 if number % 2 else 0.0
        machine.now += 30
        machine.hear()
        if number:
            said.append(machine.clock.condition().reason)
    assert set(said) == {"ServerClockJumped"}
    assert 0.0 <= machine.clock() - machine.now <= 1.1


def test_a_server_that_goes_back_is_followed_and_one_that_is_adjusted_too() -> None:
    machine = Machine()
    machine.hear()
    for step in (-600.0, 0.4, 0.4, 0.4):
        machine.server += step
        machine.now += 60
        machine.hear()
        assert -0.5 <= machine.off <= 1.1
    assert machine.clock.condition().reason != "ServerClockJumped"


@pytest.mark.parametrize(
    "date", ["Thu, 01 Jan 99999999999999999999 00:00:00 GMT", "Thu, 01 Jan x 00:00:00 GMT", "", None]
)
def test_what_is_no_date_tells_nothing(date: str | None) -> None:
    machine = Machine()
    machine.hear()
    at = machine.clock()
    machine.clock.heard(date, machine.clock.began())
    assert machine.clock() == at


def test_only_a_status_that_says_so_has_times_of_a_server_with_which_nothing_was_wrong() -> None:
    def status(kind: str, value: str) -> dict[str, object]:
        return {"conditions": [{"type": "Ready", "status": "False"}, {"type": kind, "status": value}]}

    assert reliable(status("ClockSkewed", "False"))
    assert not reliable(status("ClockSkewed", "True"))
    assert not reliable(status("Stalled", "False"))
    assert not reliable({})


def test_the_clock_counts_while_the_process_is_stopped_or_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(clock.time, "clock_gettime", lambda clock: asked.append(clock) or 1.0)
    assert clock.awake() == 1.0
    assert asked == [clock.time.CLOCK_BOOTTIME]
