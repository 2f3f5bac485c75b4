"""When a key ring is looked at again, how much of it is told, and how much of it is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import (
    Consumers,
    Following,
    Lagging,
    Report,
    following,
    named,
    stuck,
    unreferred,
    ways_out,
)
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import HeldKey, Key, Memory
from slipway_operator.rotations import Rotation
from unit.operator.ring_situations import (
    AFTER,
    ALL,
    ASKED,
    LONG_AGO,
    NOW,
    ONE_BEHIND,
    SEEN,
    SPEC,
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

NOBODY = Consumers()


@pytest.mark.parametrize(("left", "wait"), [(301.0, 300.0), (300.0, 300.0), (299.0, 299.0), (1.5, 1.5), (0.5, 1.0)])
def test_a_ring_that_rests_is_looked_at_when_its_rotation_is_due_and_every_five_minutes(
    left: float, wait: float
) -> None:
    decision = decide(ring(), LONG_AGO + SPEC.rotate_every - left)
    assert told(decision) == ("Ready", "Stable")
    assert decision.look_again == pytest.approx(wait)


@pytest.mark.parametrize(("since", "wait"), [(5.0, 1.0), (20.0, 1.0), (100.0, 5.0), (300.0, 15.0), (9000.0, 15.0)])
def test_who_lags_is_asked_after_a_twentieth_of_the_time_between_one_second_and_fifteen(
    since: float, wait: float
) -> None:
    memory = replace(rotated(), keys=(rotated().keys[0], key("b", "Signing", since=NOW - since), rotated().keys[2]))
    decision = decide(ring(**AFTER, memory=memory, consumers=ONE_BEHIND), NOW)
    assert told(decision) == ("Reconciling", "ConsumersLagging")
    assert decision.look_again == pytest.approx(wait)


@pytest.mark.parametrize(("left", "wait"), [(0.25, 1.0), (10.0, 10.0), (29.0, 29.0), (31.0, 30.0)])
def test_an_old_key_is_looked_at_when_its_time_is_over_and_every_half_minute_until_then(
    left: float, wait: float
) -> None:
    decision = decide(ring(**AFTER, memory=ending(NOW + left), consumers=ALL), NOW)
    assert told(decision) == ("Ready", "Retiring")
    assert decision.look_again == pytest.approx(wait)
    assert "b signs; a stays until its last token has expired." in decision.verdict.message


def test_an_old_key_whose_clock_has_not_started_is_looked_at_once_no_pod_can_start_with_former_files() -> None:
    fresh = rotated(since=NOW - SPEC.propagation + 9)
    decision = decide(ring(**AFTER, memory=fresh, consumers=ALL), NOW)
    assert decision.look_again == pytest.approx(9.1)


@pytest.mark.parametrize(("left", "wait"), [(100.0, 100.0), (400.0, 300.0)])
def test_a_reserve_that_validators_have_to_fetch_is_looked_at_when_they_had_the_time(left: float, wait: float) -> None:
    memory = replace(STEADY, keys=(STEADY.keys[0], key("b", "Published", confirmed=NOW - SPEC.validator_cache + left)))
    decision = decide(ring(**ASKED, memory=memory), NOW)
    assert told(decision) == ("Reconciling", "Publishing")
    assert decision.look_again == pytest.approx(wait)
    assert f"signs in {left:.0f} s" in decision.verdict.message


def test_a_reserve_that_pods_may_still_start_without_is_looked_at_a_moment_after_they_can_not() -> None:
    young = key("b", "Published", since=NOW - SPEC.propagation + 7, confirmed=NOW - 20)
    decision = decide(ring(**ASKED, memory=replace(STEADY, keys=(STEADY.keys[0], young))), NOW)
    assert decision.look_again == pytest.approx(7.1)
    resting = decide(ring(memory=replace(STEADY, keys=(STEADY.keys[0], young))), NOW)
    assert told(resting) == ("Ready", "Stable")
    assert resting.look_again == pytest.approx(7.1)


def test_what_only_a_person_can_mend_is_looked_at_every_five_minutes() -> None:
    for observed, reason in (
        (ring(secret=secret("xy", "x", ours=False)), "SecretNotOurs"),
        (ring(memory=Memory(), secret=secret("xy", "", ours=False, offered=True)), "SecretUnusable"),
        (ring(secret=secret("x", "x", ours=False, offered=True)), "SecretUnusable"),
        (ring(spec=spec(rotate_every=60.0)), "SpecCannotHold"),
        (ring(secret=secret("b", "b", intact=False)), "KeysLost"),
        (ring(memory=Memory(), secret=secret("", "", intact=False)), "KeysLost"),
    ):
        decision = decide(observed, NOW)
        assert (told(decision), decision.look_again) == (("Stalled", reason), 300.0)


def test_a_ring_that_nothing_refers_to_is_looked_at_every_fifteen_seconds_and_stalls_only_a_step_that_waits() -> None:
    for asked, state in ((SPEC, "Ready"), (spec(nonce="2"), "Stalled")):
        decision = decide(ring(spec=asked, consumers=NOBODY), NOW)
        assert (told(decision), decision.look_again) == ((state, "NoConsumers"), 15.0)
    for at, state in ((NOW + 1, "Ready"), (NOW, "Stalled"), (NOW - 1, "Stalled")):
        assert told(decide(ring(**AFTER, memory=ending(at), consumers=NOBODY), NOW)) == (state, "NoConsumers")


def test_pods_that_sign_with_keys_of_nobody_are_looked_at_every_five_seconds_and_five_are_named() -> None:
    consumers = pods(*(pod(f"p{n}", "z", "z") for n in range(7)))
    decision = decide(ring(memory=Memory(), secret=None, consumers=consumers), NOW)
    assert (told(decision), decision.look_again) == (("Reconciling", "KeysElsewhere"), 5.0)
    assert "p0, p1, p2, p3, p4 and 2 more. New keys" in decision.verdict.message
    five = replace(consumers, reports=consumers.reports[:5])
    assert "p0, p1, p2, p3, p4. New" in decide(ring(memory=Memory(), secret=None, consumers=five), NOW).verdict.message


def test_a_write_is_looked_at_at_once() -> None:
    decision = decide(ring(**ASKED), NOW)
    assert (written(decision).signing, decision.look_again) == ("b", 0.0)


def test_five_hundred_pods_that_lag_are_nudged_at_a_time() -> None:
    behind = pods(*(pod(f"p{n:04}", "abc", "a") for n in range(501)))
    decision = decide(ring(**AFTER, memory=rotated(), consumers=behind), NOW)
    assert (len(decision.nudge), decision.nudge[0], decision.nudge[-1]) == (500, "p0000", "p0499")


def test_twenty_pods_that_a_revocation_reached_are_named() -> None:
    memory = replace(STEADY, keys=(*STEADY.keys, key("r", "Revoked")))
    reached = [pod(f"p{n:02}", "ab", "a") for n in range(21)]
    decision = decide(ring(memory=memory, consumers=pods(*reached, pod("q", "abr", "a"))), NOW)
    assert told(decision) == ("Reconciling", "Revoking")
    assert "p19. Waiting for q (HoldsRevoked)." in decision.verdict.message


def test_a_secret_of_ninety_keys_is_taken_over_and_one_of_more_is_not() -> None:
    def offered(count: int) -> tuple[str, str]:
        held = tuple(HeldKey(f"k{n}", "EdDSA") for n in range(count))
        found = secret("", "k0", ours=False, offered=True, keys=held)
        return told(decide(ring(memory=Memory(), secret=found), NOW))

    assert offered(90) == ("Reconciling", "TakingOver")
    assert offered(91) == ("Stalled", "SecretUnusable")


def test_of_keys_that_cannot_sign_twenty_are_named() -> None:
    offered = secret("xy", "x", ours=False, offered=True, unfit=tuple(f"u{n}" for n in range(21)))
    assert "u19)." in decide(ring(memory=Memory(), secret=offered), NOW).verdict.message


def test_two_hundred_keys_are_kept_and_of_more_the_oldest_revoked_goes_that_nobody_lists() -> None:
    revoked = tuple(key(f"r{n}", "Revoked", since=LONG_AGO + n, confirmed=NOW) for n in range(199))
    memory = replace(STEADY, keys=(*STEADY.keys, *revoked))
    kept = {each.id for each in decide(ring(memory=memory), NOW).memory.keys}
    assert (len(kept), "r0" in kept) == (200, False)
    listed = {each.id for each in decide(ring(memory=memory, spec=spec(revoke=frozenset({"r0"}))), NOW).memory.keys}
    assert (len(listed), "r0" in listed, "r1" in listed) == (200, True, False)
    fits = replace(memory, keys=memory.keys[:200])
    assert len(decide(ring(memory=fits), NOW).memory.keys) == 200


@pytest.mark.parametrize(("limit", "kept"), [(0, 1), (1, 1), (2, 2), (10, 3)])
def test_a_history_is_as_long_as_it_is_wished_for_and_the_last_rotation_is_always_kept(limit: int, kept: int) -> None:
    history = tuple(Rotation(f"k{n}", LONG_AGO, "Schedule", result="Confirmed") for n in range(3))
    memory = replace(STEADY, history=history)
    assert len(decide(ring(memory=memory, spec=spec(history_limit=limit)), NOW).memory.history) == kept


def test_an_operator_that_starts_anew_has_no_stage_begin_in_times_to_come() -> None:
    later = key("b", "Signing", since=NOW + 500, confirmed=NOW + 600)
    memory = replace(rotated(), keys=(rotated().keys[0], later, rotated().keys[2]))
    decision = decide(ring(**AFTER, memory=memory, consumers=ALL, anew=True), NOW)
    assert (of(decision, "b").since, of(decision, "b").confirmed) == (NOW, NOW)
    past = key("b", "Signing", since=SEEN, confirmed=SEEN + 500)
    memory = replace(memory, keys=(memory.keys[0], past, memory.keys[2]))
    decision = decide(ring(**AFTER, memory=memory, consumers=ALL, anew=True), NOW)
    assert (of(decision, "b").since, of(decision, "b").confirmed) == (SEEN, SEEN + 500)


def test_for_a_message_five_that_lag_are_named_and_three_ways_out_each_once() -> None:
    lagging = [Lagging(f"p{n}", "Why", way=f"Way {n // 2}.") for n in range(8)]
    assert named(lagging[:5]) == "p0 (Why), p1 (Why), p2 (Why), p3 (Why), p4 (Why)"
    assert named(lagging) == "p0 (Why), p1 (Why), p2 (Why), p3 (Why), p4 (Why) and 3 more"
    assert named([Lagging("p", "Why", detail="so")]) == "p (Why: so)"
    assert ways_out(lagging) == " Way 0. Way 1. Way 2."
    assert ways_out([Lagging("p", "Why")]) == ""


@pytest.mark.parametrize(
    ("reason", "since", "is_stuck"),
    [
        ("NodeLost", NOW - 600, False),
        ("NodeLost", NOW - 601, True),
        ("JobRuns", NOW - 9000, False),  # only since the change is it waited for
        ("TimedOut", NOW - 9000, False),
    ],
)
def test_a_pod_is_stuck_after_more_than_ten_minutes_of_waiting(reason: str, since: float, *, is_stuck: bool) -> None:
    found = Following(unheard=(Lagging("q", "TimedOut"), Lagging("p", reason, since=since)))
    assert (stuck(found, NOW - 500, NOW) is not None) == is_stuck
    assert (stuck(found, NOW - 601, NOW) is not None) == (is_stuck or reason == "JobRuns")


def test_a_pod_follows_when_all_its_processes_do_and_what_opposes_counts_before_what_is_unheard() -> None:
    reports = (
        Report("a", keys=frozenset("x")),
        Report("a", fault="TimedOut"),
        Report("b", fault="TimedOut"),
        Report("b"),
        Report("c", fault="TimedOut", starting=True),
        Report("c", fault="Unreachable"),
        Report("d", fault="TimedOut", starting=True),
        Report("e", keys=frozenset("x")),
    )
    found = following(Consumers(reports, 0, refers=True), lambda report: "" if report.keys else "KeyMissing")
    assert [one.pod for one in found.opposed] == ["b"]
    assert [one.pod for one in found.unheard] == ["a", "c"]
    assert [one.pod for one in found.starting] == ["d"]
    assert (found.heard, found.nobody, found.all) == (1, False, False)


def test_pods_that_a_selector_finds_and_that_refer_to_nothing_are_named_up_to_three() -> None:
    found = Consumers(tuple(Report(f"p{n}") for n in range(4)))
    reason, text = unreferred(found, "keys", "app=shop")
    assert reason == "NoConsumers"
    assert "consumers.selector (app=shop) finds 4 that don't refer to it: p0, p1, p2." in text
    assert "consumers.selector" not in unreferred(NOBODY, "keys", "app=shop")[1]


def test_a_key_that_was_never_seen_is_taken_in_as_of_now() -> None:
    decision = decide(ring(memory=Memory()), NOW)
    assert {each.id: (each.stage, each.since, each.created) for each in decision.memory.keys}["a"] == (
        "Signing",
        NOW,
        NOW,
    )
    assert Key("x", "EdDSA", "Published", 0.0, 0.0).lifetime == 0.0
