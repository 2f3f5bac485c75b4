"""When a database login is looked at again, and whom its messages name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import Consumers, Report
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import HandOver, Memory, Scramble, Session
from slipway_operator.rotations import Rotation
from unit.operator.test_login_decide import (
    DAY,
    FIRST,
    HANDED,
    MEMORY,
    NOW,
    REST,
    ROTATING,
    SECRET,
    SPEC,
    database,
    pods,
    told,
)

NOBODY = Consumers()


@pytest.mark.parametrize(("left", "wait"), [(301.0, 300.0), (300.0, 300.0), (299.0, 299.0), (1.5, 1.5), (0.5, 1.0)])
def test_a_login_that_rests_is_looked_at_when_its_rotation_is_due_and_every_five_minutes(
    left: float, wait: float
) -> None:
    assert decide(REST, NOW + 29 * DAY - left).look_again == wait


@pytest.mark.parametrize(("since", "wait"), [(5.0, 1.0), (20.0, 1.0), (100.0, 5.0), (300.0, 15.0), (9000.0, 15.0)])
def test_who_lags_is_asked_after_a_twentieth_of_the_time_between_one_second_and_fifteen(
    since: float, wait: float
) -> None:
    lagging = replace(ROTATING, consumers=pods("a", "b"))
    assert decide(lagging, NOW - 10 + since).look_again == wait
    lingering = replace(ROTATING, database=database(Session(1, "a")))
    assert decide(lingering, NOW - 10 + since).look_again == wait
    awaited = replace(ROTATING, consumers=pods(wanted=2))
    assert (told(awaited), decide(awaited, NOW - 10 + since).look_again) == (("Reconciling", "AwaitingConsumers"), wait)


def test_what_only_a_person_can_mend_is_looked_at_every_five_minutes_or_fifteen_seconds() -> None:
    foreign = decide(replace(FIRST, secret=replace(SECRET, ours=False)), NOW)
    assert (foreign.verdict.reason, foreign.look_again) == ("SecretNotOurs", 300.0)
    elsewhere = replace(REST, memory=replace(MEMORY, server="one"), database=replace(database(), server="two"))
    moved = decide(elsewhere, NOW)
    assert (moved.verdict.reason, moved.look_again) == ("ServerChanged", 15.0)
    unseen = decide(replace(REST, database=None), NOW)
    assert (unseen.verdict.reason, unseen.look_again) == ("DatabaseUnseen", 1.0)


def test_an_effect_is_looked_at_at_once() -> None:
    assert decide(replace(REST, secret=None), NOW).look_again == 0.0


def test_a_role_whose_pods_cannot_all_be_asked_is_scrambled_later_and_that_is_looked_at_every_fifteen_seconds() -> None:
    silent = Consumers((*pods("a").reports, Report("p9", "TimedOut")), refers=True)
    known = replace(MEMORY, scrambled=frozenset())
    decision = decide(replace(REST, consumers=silent, memory=known), NOW)
    assert (decision.verdict.state, decision.verdict.reason, decision.look_again) == ("Ready", "Rotated", 15.0)
    assert decide(replace(REST, memory=known), NOW).effect == Scramble("b")


def test_pods_of_both_roles_are_looked_at_every_five_seconds_and_five_of_the_smaller_part_are_named() -> None:
    both = pods(*"ab" * 6, "b")
    decision = decide(replace(REST, secret=None, consumers=both), NOW)
    assert (decision.verdict.reason, decision.look_again) == ("BothRolesInUse", 5.0)
    assert "(p0, p2, p4, p6, p8):" in decision.verdict.message


@pytest.mark.parametrize(("left", "wait"), [(3.0, 3.0), (15.0, 15.0), (60.0, 15.0)])
def test_a_login_that_is_refused_is_written_again_when_it_has_rested(left: float, wait: float) -> None:
    written = replace(SECRET, cause="Healed")
    refused = replace(REST, secret=written, database=database(logs_in=False), rests_until=NOW + left)
    decision = decide(refused, NOW)
    assert (told(refused), decision.look_again) == (("Stalled", "LoginRefused"), wait)
    assert decide(refused, NOW + left).effect == HandOver("b", "Healed", "")


@pytest.mark.parametrize(
    ("observed", "state"),
    [
        (REST, "Ready"),
        (replace(REST, spec=replace(SPEC, nonce="1")), "Stalled"),
        (ROTATING, "Stalled"),
        (replace(ROTATING, memory=replace(ROTATING.memory, history=(Rotation("b", NOW, "Created", ""),))), "Ready"),
    ],
)
def test_a_login_that_nothing_refers_to_stalls_only_where_a_step_waits(observed: object, state: str) -> None:
    found = replace(observed, consumers=NOBODY)  # type: ignore[type-var]
    decision = decide(found, NOW)  # type: ignore[arg-type]
    assert ((decision.verdict.state, decision.verdict.reason), decision.look_again) == ((state, "NoConsumers"), 15.0)
    assert decide(replace(REST, consumers=NOBODY), NOW + 29 * DAY).verdict.state == "Stalled"


def test_what_cannot_be_listed_is_waited_for_and_never_ready() -> None:
    unlisted = replace(REST, consumers=Consumers(unlisted="pods is forbidden"))
    decision = decide(unlisted, NOW)
    assert (told(unlisted), decision.look_again) == (("Reconciling", "ConsumersUnlisted"), 15.0)


def test_sessions_are_named_oldest_first_ten_of_them_and_one_of_no_known_age_before_all() -> None:
    aged = tuple(Session(pid, "a", "app", "idle", NOW - pid) for pid in range(1, 10))
    ten = (*aged, Session(99, "a", "", "idle", None))
    message = decide(replace(ROTATING, database=database(*ten)), NOW).verdict.message
    assert "to end: pid 99 (no application_name), pid 9 (app, 9 s old)," in message
    assert message.endswith("pid 1 (app, 1 s old).")
    eleven = (*ten, Session(100, "a", "app", "idle", NOW + 5))
    assert decide(replace(ROTATING, database=database(*eleven)), NOW).verdict.message.endswith("and 1 more.")
    ahead = replace(ROTATING, database=database(Session(100, "a", "app", "idle", NOW + 5)))
    assert decide(ahead, NOW).verdict.message.endswith("pid 100 (app, 0 s old).")


@pytest.mark.parametrize(("limit", "kept"), [(0, 1), (1, 1), (2, 2), (9, 2)])
def test_a_history_is_as_long_as_it_is_wished_for_and_the_last_is_always_kept(limit: int, kept: int) -> None:
    limited = replace(SPEC, nonce="1", history_limit=limit)
    assert len(decide(replace(REST, spec=limited, secret=HANDED), NOW).memory.history) == kept


def test_the_role_that_is_nearest_to_being_free_gets_the_new_login() -> None:
    # By sessions alone `b` is held, and `a` by a pod: `b` is waited for.
    sessions = database(Session(1, "a"), Session(2, "b", "psql"), logs_in=None)
    decision = decide(replace(REST, secret=None, consumers=pods("a"), database=sessions), NOW)
    assert "b gets a new login once nobody uses it. Waiting for 1 to end: pid 2" in decision.verdict.message
    # A pod that can't be asked may use either; one that tells of `b` uses that.
    silent = Report("p9", "TimedOut")
    observed = replace(REST, secret=None, consumers=Consumers((*pods("b").reports, silent), refers=True),
                       database=database(logs_in=None))  # fmt: skip
    decision = decide(observed, NOW)
    assert "a gets a new login once nobody uses it. Waiting for p9 (TimedOut)" in decision.verdict.message


def test_at_first_nothing_is_told_of_a_next_rotation_or_of_old_sessions() -> None:
    verdict = decide(replace(FIRST, database=database(Session(1, "b"), logs_in=None)), NOW).verdict
    assert (verdict.next_rotation, verdict.old_sessions, verdict.confirmed) == (None, (), 0)
    assert decide(replace(REST, memory=Memory()), NOW).verdict.running == 2
