"""Where nothing is seen that refers to the Secret, nothing is proved: what is done then, what waits, what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.evidence.consumers import PATIENCE, Consumers, Endpoint, Report
from slipway_operator.keyrings import decide as rings
from slipway_operator.keyrings.model import HeldKey
from slipway_operator.keyrings.model import Memory as RingMemory
from slipway_operator.logins import decide as logins
from slipway_operator.logins.model import HandOver, Memory, Observed, PrepareRoles, RoleSeen, Session
from slipway_operator.rotations import Rotation
from unit.operator import test_login_decide as login
from unit.operator.ring_situations import (
    AFTER,
    ASKED,
    NOW,
    REVOKED_A,
    STEADY,
    ending,
    key,
    of,
    pod,
    pods,
    ring,
    rotated,
    secret,
    spec,
    told,
    written,
)

NOTHING = Consumers()
CHOSEN = Consumers((pod("stranger", "ab", "a"),))
"""A pod that the selector finds, which tells all that one could wish, and doesn't refer to the Secret."""
FORBIDDEN = Consumers(unlisted="cronjobs.batch is forbidden")
BY_TIME: dict[str, Any] = {"spec": spec(endpoint=None, nonce="2")}


@pytest.mark.parametrize("asked", [ASKED, BY_TIME], ids=["Endpoint", "Time"])
@pytest.mark.parametrize("consumers", [NOTHING, CHOSEN], ids=["nothing", "only what the selector finds"])
def test_a_rotation_of_keys_that_nothing_refers_to_stalls_and_tells_the_way_out(
    asked: dict[str, Any], consumers: Consumers
) -> None:
    decision = rings.decide(ring(**asked, consumers=consumers), NOW)
    assert (decision.effect, told(decision)) == (None, ("Stalled", "NoConsumers"))
    assert "refers to the Secret keys" in decision.verdict.message
    assert "Mount it where it is used, or correct secretName." in decision.verdict.message
    assert decision.memory.handled_nonce == "1"


def test_what_a_selector_finds_that_does_not_refer_is_named() -> None:
    found = rings.decide(ring(**ASKED, consumers=CHOSEN), NOW).verdict
    assert "consumers.selector (app=slipway) finds 1 that don't refer to it: stranger." in found.message


def test_at_rest_a_ring_that_nothing_refers_to_is_ready_and_says_so() -> None:
    """Whoever waits for it before making what uses it mustn't wait for that."""
    decision = rings.decide(ring(consumers=NOTHING), NOW)
    assert (decision.effect, told(decision)) == (None, ("Ready", "NoConsumers"))
    assert decision.look_again == pytest.approx(15)


def test_the_first_keys_are_made_for_nobody_and_are_not_confirmed() -> None:
    first = rings.decide(ring(memory=RingMemory(), secret=None, consumers=NOTHING), NOW)
    assert written(first).cause == "Created"
    seen = rings.decide(ring(memory=RingMemory(), secret=secret("ab", "a", cause="Created"), consumers=NOTHING), NOW)
    assert told(seen) == ("Ready", "NoConsumers")
    assert [each.confirmed for each in seen.memory.keys] == [None, None]
    assert [(one.cause, one.result) for one in seen.memory.history] == [("Created", None)]


@pytest.mark.parametrize("by_time", [False, True])
def test_nothing_starts_the_clock_of_an_old_key_and_nothing_retires_it(*, by_time: bool) -> None:
    asked = {"spec": spec(endpoint=None)} if by_time else {}
    fresh = rings.decide(ring(**AFTER, **asked, memory=rotated(), consumers=NOTHING), NOW)
    assert (of(fresh, "a").retire_after, of(fresh, "b").confirmed) == (None, None)
    assert told(fresh) == ("Stalled", "NoConsumers"), "a rotation is under way"
    over = rings.decide(ring(**AFTER, **asked, memory=ending(NOW), consumers=NOTHING), NOW)
    assert (over.effect, told(over)) == (None, ("Stalled", "NoConsumers"))


def test_a_revoked_key_leaves_the_secret_though_nothing_refers_to_it_and_is_not_said_to_have_left_the_pods() -> None:
    assert written(rings.decide(ring(**REVOKED_A, consumers=NOTHING), NOW)).signing == "b"
    for lifetime, state in ((900.0, "Reconciling"), (0.0, "Ready")):  # whatever was listed before it ever signed
        keys = (key("b", "Signing"), key("c", "Published"), key("a", "Revoked", lifetime=lifetime))
        after = ring(**REVOKED_A, memory=RingMemory(keys, "1"), secret=secret("bc", "b"), consumers=NOTHING)
        assert told(rings.decide(after, NOW)) == (state, "NoConsumers")


def test_a_healed_ring_keeps_an_old_key_whose_time_is_over_until_pods_were_seen() -> None:
    broken = ring(memory=ending(NOW), secret=secret("abc", "b", intact=False), consumers=NOTHING)
    assert written(rings.decide(broken, NOW)).keep == ("a", "b", "c")


def test_by_time_a_reserve_that_once_signed_is_disused_only_where_something_refers_to_the_secret() -> None:
    reserve = replace(STEADY.keys[1], retire_after=NOW - 1)
    memory = replace(STEADY, keys=(STEADY.keys[0], reserve))
    seen = ring(spec=spec(endpoint=None), memory=memory, consumers=pods(wanted=0))
    assert of(rings.decide(seen, NOW), "b").retire_after is None
    assert (of(rings.decide(replace(seen, consumers=NOTHING), NOW), "b").retire_after or 0.0) > NOW


def test_a_reserve_of_an_unwanted_algorithm_stays_while_nothing_is_seen() -> None:
    other = replace(STEADY.keys[1], id="c", algorithm="ES256")
    memory = replace(STEADY, keys=(*STEADY.keys, other))
    held = secret("", "a", keys=(*secret("ab", "a").keys, HeldKey("c", "ES256")))
    seen = ring(spec=spec(algorithm="ES256"), memory=memory, secret=held, consumers=pods(pod("p", "abc", "a")))
    assert written(rings.decide(seen, NOW)).keep == ("a", "c")
    assert rings.decide(replace(seen, consumers=NOTHING), NOW).effect is None


@pytest.mark.parametrize("by_time", [False, True])
def test_pods_that_are_wanted_and_do_not_run_are_waited_for_by_time_too(*, by_time: bool) -> None:
    waiting = Consumers(wanted=2, refers=True)
    asked = {"spec": spec(endpoint=None)} if by_time else {}
    decision = rings.decide(ring(**AFTER, **asked, memory=rotated(), consumers=waiting), NOW)
    assert told(decision) == ("Reconciling", "AwaitingConsumers")
    assert of(decision, "b").confirmed is None


def test_pods_of_the_selector_do_not_stand_for_those_that_are_wanted() -> None:
    decision = rings.decide(ring(**ASKED, consumers=replace(CHOSEN, wanted=1, refers=True)), NOW)
    assert (decision.effect, told(decision)) == (None, ("Reconciling", "AwaitingConsumers"))


@pytest.mark.parametrize("asked", [{}, ASKED], ids=["at rest", "a rotation is asked for"])
def test_what_may_not_be_listed_is_never_fine(asked: dict[str, Any]) -> None:
    decision = rings.decide(ring(**asked, consumers=FORBIDDEN), NOW)
    assert (decision.effect, told(decision)) == (None, ("Reconciling", "ConsumersUnlisted"))
    assert "cronjobs.batch is forbidden" in decision.verdict.message
    found = logins.decide(replace(login.REST, consumers=FORBIDDEN), NOW)
    assert (found.effect, told_of(found)) == (None, ("Reconciling", "ConsumersUnlisted"))


def told_of(decision: Any) -> tuple[str, str]:
    return decision.verdict.state, decision.verdict.reason


def login_seen(**changes: Any) -> Observed:
    return replace(login.REST, consumers=NOTHING, **changes)


def test_roles_and_the_first_login_are_made_for_nobody() -> None:
    missing = (RoleSeen("a", exists=False), RoleSeen("b", exists=False))
    first = replace(login.FIRST, consumers=NOTHING)
    made = logins.decide(replace(first, database=login.database(roles=missing, logs_in=None)), login.NOW)
    assert made.effect == PrepareRoles(("a", "b"))
    assert logins.decide(replace(first, memory=made.memory), login.NOW).effect == HandOver("a", "Created", "")


def test_of_the_first_pair_nothing_is_said_to_be_unknown_once_one_has_a_login() -> None:
    """So the other is scrambled once pods are seen, and until then no login is made of either."""
    both = Memory(scrambled=frozenset({"a", "b"}))
    first = logins.decide(replace(login.FIRST, memory=both, consumers=NOTHING), login.NOW)
    assert (first.effect, first.memory.scrambled) == (HandOver("a", "Created", ""), frozenset())
    deleted = replace(login.FIRST, memory=first.memory, consumers=NOTHING)
    assert logins.decide(deleted, login.NOW).effect is None


def test_roles_of_a_former_login_may_be_in_use_unseen_so_the_message_tells_how_to_be_rid_of_them() -> None:
    decision = logins.decide(replace(login.FIRST, consumers=NOTHING), login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Stalled", "NoConsumers"))
    assert "where nobody uses a and b, drop these roles" in decision.verdict.message
    refers = Consumers(wanted=1, refers=True)
    assert logins.decide(replace(login.FIRST, consumers=refers), login.NOW).effect == HandOver("a", "Created", "")


def test_a_role_that_is_made_but_was_made_by_somebody_before_is_not_taken_for_unknown() -> None:
    unfit = (RoleSeen("a", exists=True, fit=False), RoleSeen("b", exists=False))
    observed = replace(login.FIRST, database=login.database(roles=unfit, logs_in=None))
    assert logins.decide(observed, login.NOW).memory.scrambled == frozenset({"b"})


def test_after_the_first_login_the_other_role_is_not_scrambled_until_something_refers_to_it() -> None:
    made = Memory("a", login.NOW - 1, history=(Rotation("a", login.NOW - 1, "Created"),))
    decision = logins.decide(login_seen(memory=made), login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Ready", "NoConsumers"))
    assert decision.memory.history[0].result is None


@pytest.mark.parametrize(
    "consumers", [NOTHING, Consumers((Report("stranger", database_role="a"),))], ids=["nothing", "the selector's pod"]
)
def test_a_rotation_of_a_login_that_nothing_refers_to_stalls(consumers: Consumers) -> None:
    asked = replace(login.REST, spec=replace(login.SPEC, nonce="1"), consumers=consumers)
    decision = logins.decide(asked, login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Stalled", "NoConsumers"))
    assert "refers to the Secret login" in decision.verdict.message


def test_a_password_is_not_made_unknown_after_a_hand_over_that_nobody_was_seen_to_follow() -> None:
    decision = logins.decide(replace(login.ROTATING, consumers=NOTHING), login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Stalled", "NoConsumers"))


def test_a_lost_login_is_made_anew_once_something_refers_to_it() -> None:
    decision = logins.decide(login_seen(secret=None), login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Stalled", "NoConsumers"))
    seen = replace(login.REST, secret=None, consumers=Consumers(wanted=1, refers=True))
    assert logins.decide(seen, login.NOW).effect == HandOver("b", "Healed", "")


def test_a_lost_login_with_nothing_seen_but_sessions_names_these() -> None:
    sessions = login.database(Session(1, "a"), Session(2, "b"), logs_in=None)
    decision = logins.decide(login_seen(secret=None, database=sessions), login.NOW)
    assert (decision.effect, told_of(decision)) == (None, ("Reconciling", "OldSessionsStay"))


def test_a_login_without_a_selector_is_found_by_reference_alone() -> None:
    asked = replace(login.SPEC, endpoint=Endpoint(), nonce="1")
    assert logins.decide(replace(login.REST, spec=asked), login.NOW).effect == HandOver("b", "Nonce", "1")


def job(since: float) -> Report:
    return Report("backup", "JobRuns", detail="since then, Unreachable", way="Let it end.", since=since)


def lost(since: float) -> Report:
    return Report("a-1", "NodeLost", way="kubectl delete node n", since=since)


@pytest.mark.parametrize(
    ("report", "waited", "state"),
    [
        (job(login.NOW - 86_400.0), PATIENCE, ("Reconciling", "ConsumersLagging")),
        (job(login.NOW - 86_400.0), PATIENCE + 1, ("Stalled", "JobRuns")),
        (job(login.NOW - PATIENCE), 86_400.0, ("Reconciling", "ConsumersLagging")),
        (lost(login.NOW - PATIENCE), 86_400.0, ("Reconciling", "ConsumersLagging")),
        (lost(login.NOW - PATIENCE - 1), 1.0, ("Stalled", "NodeLost")),
        (Report("a-1", "TimedOut"), 86_400.0, ("Reconciling", "ConsumersLagging")),
    ],
)
def test_a_job_that_runs_on_and_a_lost_node_are_waited_for_with_a_bound_and_never_scrambled(
    report: Report, waited: float, state: tuple[str, str]
) -> None:
    since = login.NOW - waited
    memory = Memory("b", since, "1", history=(Rotation("b", since, "Nonce", "a"),))
    seen = replace(login.ROTATING, memory=memory, consumers=Consumers((*login.pods("b").reports, report), refers=True))
    decision = logins.decide(seen, login.NOW)
    assert (decision.effect, told_of(decision)) == (None, state)
    assert report.fault in decision.verdict.message
    assert decision.verdict.message.endswith(report.way or "(TimedOut).")


@pytest.mark.parametrize(("waited", "state"), [(PATIENCE, "Reconciling"), (PATIENCE + 1, "Stalled")])
def test_keys_wait_for_a_job_with_the_same_bound(waited: float, state: str) -> None:
    running = Consumers((pod("p", "abc", "b"), job(0.0)), refers=True)
    decision = rings.decide(ring(**AFTER, memory=rotated(since=NOW - waited), consumers=running), NOW)
    assert (decision.effect, decision.verdict.state) == (None, state)
    assert of(decision, "a").retire_after is None
