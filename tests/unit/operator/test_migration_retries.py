"""When a Job that failed is made again, when it is given up, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import CreateJob, Memory, Trouble
from slipway_operator.migrations.retries import pause
from unit.operator.test_migration_decide import FAILED, KEY, NOW, PLANNED, UNPLANNED, job, look

NO_LOCK = Trouble("LockNotAvailable", "No lock.")


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (8, 300), (40, 300), (5000, 300)]
)
def test_a_pause_is_between_half_and_all_of_five_seconds_doubled_with_each_failure_up_to_five_minutes(
    attempt: int, longest: float
) -> None:
    found = [pause(f"u{n}", "expand", attempt) for n in range(2000)]
    assert longest / 2 <= min(found) < longest * 0.501
    assert longest * 0.999 < max(found) < longest


def test_a_pause_differs_from_one_resource_purpose_and_try_to_the_next_and_is_the_same_each_time() -> None:
    found = {pause(uid, purpose, 8) for uid in "ab" for purpose in ("expand", "contract")}  # type: ignore[arg-type]
    assert len(found) == 4
    assert pause("a", "expand", 7) != pause("a", "expand", 8)
    assert pause("a", "expand", 8) == pause("a", "expand", 8)


@pytest.mark.parametrize(("passed", "made"), [(0.0, False), (-0.25, False), (0.25, True)])
def test_the_next_try_is_made_when_its_pause_is_over_and_told_until_then(passed: float, *, made: bool) -> None:
    failed_at = NOW - pause("u", "expand", 1) - passed
    decision = decide(look(replace(FAILED, failed_at=failed_at)), NOW)
    if made or not passed:
        assert decision.effect == CreateJob("expand", 1)
        assert decision.look_again == 2.0
    else:
        assert (decision.effect, decision.look_again) == (None, pytest.approx(-passed))
        assert decision.verdict.message == "No lock. Try 2 of 4 follows."


def test_a_failure_in_times_to_come_is_waited_for_as_if_it_were_just_now() -> None:
    decision = decide(look(replace(FAILED, failed_at=NOW + 5000)), NOW)
    assert decision.look_again == pytest.approx(pause("u", "expand", 1))


@pytest.mark.parametrize(("tried", "state"), [(3, "Reconciling"), (4, "Stalled")])
def test_a_run_is_given_up_when_its_tries_are_used_up(tried: int, state: str) -> None:
    memory = replace(FAILED, attempts={"expand": tried}, failed_at=NOW - 5000)
    decision = decide(look(memory), NOW)
    assert decision.verdict.state == state
    if state == "Stalled":
        assert (decision.effect, decision.look_again) == (None, 300.0)
        assert decision.verdict.message.startswith("No lock. It isn't tried again as it is: change the workload,")
    else:
        assert decision.effect == CreateJob("expand", 3)


def test_without_retries_one_failure_is_the_last() -> None:
    assert decide(look(replace(FAILED, failed_at=NOW - 5000), spec={"retries": 0}), NOW).verdict.state == "Stalled"
    assert decide(look(PLANNED, spec={"retries": 0}), NOW).effect == CreateJob("expand", 0)


def test_a_failure_of_another_purpose_gives_up_nothing() -> None:
    memory = replace(PLANNED, attempts={"plan": 9}, failure=replace(NO_LOCK, lasting=True), failed_at=NOW)
    assert decide(look(memory), NOW).effect == CreateJob("expand", 0)


def test_a_job_that_would_be_made_otherwise_now_is_made_at_once_even_after_the_last_try() -> None:
    memory = replace(FAILED, attempts={"expand": 9}, failed_at=NOW, ended="app-expand")
    mended = job("expand", "failed", attempt=8, outdated=True)
    assert decide(look(memory, jobs=(mended,)), NOW).effect == CreateJob("expand", 9)
    for same in (replace(mended, outdated=False), replace(mended, name="another")):
        assert decide(look(memory, jobs=(same,)), NOW).verdict.state == "Stalled"


@pytest.mark.parametrize(("ago", "asked"), [(299.5, False), (300.0, True)])
def test_a_plan_that_was_given_up_is_asked_for_every_five_minutes_and_stays_stalled(ago: float, *, asked: bool) -> None:
    decision = decide(look(replace(UNPLANNED, failed_at=NOW - ago)), NOW)
    assert (decision.verdict.state, decision.verdict.reason) == ("Stalled", "MultipleHeads")
    assert decision.verdict.message == "Two. Mend it; it is looked at again every 5 minutes."
    assert decision.effect == (CreateJob("plan", 1) if asked else None)
    assert decision.look_again == (2.0 if asked else pytest.approx(0.5))


def test_tries_that_all_ended_because_the_plan_had_changed_say_so() -> None:
    memory = Memory(KEY, attempts={"plan": 9}, failed_at=NOW)
    assert decide(look(memory), NOW).verdict.reason == "PlanChanged"
