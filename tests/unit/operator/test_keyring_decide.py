"""What a key ring does next: each guard holds a step back, and lets it go once what it waits for is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import Consumers, Report
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import HeldKey, Memory, Observed, Spec, WriteSecret
from unit.operator.ring_situations import (
    AFTER,
    ALL,
    ASKED,
    DAY,
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
    stages,
    told,
    written,
)


def test_a_ring_that_all_follow_rests_until_its_next_rotation() -> None:
    decision = decide(ring(), NOW)
    assert told(decision) == ("Ready", "Stable")
    assert decision.effect is None
    assert decision.verdict.next_rotation == LONG_AGO + SPEC.rotate_every
    assert decision.memory == STEADY


ENDS = SPEC.propagation
"""Seconds after a stage began until no pod can start any more with files from before."""


@pytest.mark.parametrize(
    ("age", "confirmed", "asked", "look_again"),
    [
        (20.0, None, pods(pod("p", "ab", "a"), pod("q", "ab", "a", fault="Unreachable")), 1.0),
        (20.0, NOW - 10.0, ring().consumers, ENDS - 20.0 + 0.1),
        (ENDS + 20.0, LONG_AGO, pods(pod("p", "ab", "a"), pod("q", "ab", "a", fault="Unreachable")), 7.0),
        (ENDS + 20.0, NOW - 10.0, ring().consumers, 300.0),
        (ENDS + 600.0, NOW - 598.0, ring().consumers, 2.0),
        (ENDS + 600.0, NOW - SPEC.validator_cache, ring().consumers, 300.0),
    ],
    ids=[
        "no pod can be asked",
        "a pod may start with old files",
        "one still can't",
        "for good",
        "it may sign soon",
        "it may sign",
    ],
)
def test_a_reserve_is_looked_at_again_as_soon_as_that_may_confirm_it_for_good(
    age: float, confirmed: float | None, asked: Consumers, look_again: float
) -> None:
    """So that a rotation that is asked for later finds it ripe."""
    reserve = key("b", "Published", since=NOW - age, confirmed=confirmed)
    decision = decide(ring(memory=replace(STEADY, keys=(STEADY.keys[0], reserve)), consumers=asked), NOW)
    assert told(decision) == ("Ready", "Stable")
    assert decision.look_again == pytest.approx(look_again)


def test_without_a_secret_and_a_memory_two_keys_are_made_at_once_and_the_nonce_counts_as_handled() -> None:
    decision = decide(ring(memory=Memory(), secret=None, consumers=Consumers()), NOW)
    assert decision.effect == WriteSecret((), None, 2, "EdDSA", "Created", "1")
    assert not decision.memory.keys, "a key is remembered once it is seen"


def test_the_first_keys_are_taken_in_as_one_that_signs_and_its_reserve() -> None:
    decision = decide(ring(memory=Memory(), secret=secret("ab", "a", cause="Created")), NOW)
    assert stages(decision) == {"a": "Signing", "b": "Published"}
    assert decision.effect is None


def test_a_lost_status_gives_keys_of_unknown_age_a_full_clock_and_publishes_a_reserve() -> None:
    decision = decide(ring(memory=Memory(), secret=secret("ab", "a")), NOW)
    assert stages(decision) == {"a": "Signing", "b": "Retiring"}
    assert written(decision) == WriteSecret(("a", "b"), "a", 1, "EdDSA", "Schedule", "1")
    later = NOW + SPEC.propagation + 1
    settled = decide(ring(memory=decision.memory, secret=secret("ab", "a")), later)
    assert of(settled, "b").retire_after == later + SPEC.token_lifetime + SPEC.leeway


def test_a_ring_without_a_reserve_publishes_one_that_doesnt_sign() -> None:
    alone = Memory(STEADY.keys[:1], "1")
    decision = decide(ring(memory=alone, secret=secret("a", "a")), NOW)
    assert written(decision) == WriteSecret(("a",), "a", 1, "EdDSA", "Schedule", "1")


def test_a_reserve_of_an_unwanted_algorithm_leaves_once_one_of_the_wanted_is_there() -> None:
    wanted = spec(algorithm="ES256")
    first = written(decide(ring(spec=wanted), NOW))
    assert (first.keep, first.fresh, first.algorithm) == (("a", "b"), 1, "ES256")
    held = secret("", "a", keys=(*secret("ab", "a").keys, HeldKey("c", "ES256")))
    follow = pods(pod("p", "abc", "a"), pod("q", "abc", "a"))

    def two(confirmed: float) -> Observed:
        memory = replace(STEADY, keys=(*STEADY.keys, key("c", "Published", algorithm="ES256", confirmed=confirmed)))
        return ring(spec=wanted, memory=memory, secret=held, consumers=follow)

    second = written(decide(two(SEEN), NOW))
    assert (second.keep, second.fresh) == (("a", "c"), 0)
    unripe = two(NOW - 1)
    assert decide(unripe, NOW).effect is None, "a revoke would have nowhere to go"
    revoked = decide(replace(unripe, spec=replace(wanted, revoke=frozenset("a"))), NOW)
    assert written(revoked).signing == "b", "which all know"
    used = replace(unripe.memory, keys=tuple(replace(each, retire_after=NOW + 1) for each in two(SEEN).memory.keys))
    goes = decide(replace(unripe, memory=used), NOW)
    assert goes.effect is None
    assert stages(goes) == {"a": "Signing", "b": "Retiring", "c": "Published"}


def test_a_new_nonce_lets_the_reserve_sign_and_keeps_the_old_key_beside_a_new_reserve() -> None:
    assert written(decide(ring(**ASKED), NOW)) == WriteSecret(("a", "b"), "b", 1, "EdDSA", "Nonce", "2")


def test_the_schedule_rotates_when_it_is_due_and_not_before() -> None:
    due = LONG_AGO + SPEC.rotate_every
    assert decide(ring(), due - 1).effect is None
    assert written(decide(ring(), due)) == WriteSecret(("a", "b"), "b", 1, "EdDSA", "Schedule", "1")


@pytest.mark.parametrize(
    ("lagging", "reason"),
    [
        (pod("q", "a", "a"), "KeyMissing"),
        (Report("q", fault="Unreachable"), "Unreachable"),
        (Report("q", fault="TimedOut", starting=True), "TimedOut"),
    ],
)
def test_the_reserve_doesnt_sign_while_a_pod_lacks_it_or_cant_be_asked(lagging: Report, reason: str) -> None:
    decision = decide(ring(**ASKED, consumers=pods(pod("p", "ab", "a"), lagging)), NOW)
    assert decision.effect is None
    assert told(decision) == ("Reconciling", "ConsumersLagging")
    assert [(each.pod, each.reason) for each in decision.verdict.lagging] == [("q", reason)]


@pytest.mark.parametrize("wanted", [0, 2])
def test_no_pod_is_evidence_only_where_none_is_wanted(wanted: int) -> None:
    decision = decide(ring(**ASKED, consumers=pods(wanted=wanted)), NOW)
    assert (decision.effect is None) == (wanted > 0)
    if wanted:
        assert told(decision) == ("Reconciling", "AwaitingConsumers")


def test_the_reserve_doesnt_sign_before_every_validator_had_time_to_fetch_it() -> None:
    def confirmed(at: float) -> Memory:
        return replace(STEADY, keys=(STEADY.keys[0], replace(STEADY.keys[1], confirmed=at)))

    early = decide(ring(**ASKED, memory=confirmed(NOW - SPEC.validator_cache + 5)), NOW)
    assert early.effect is None
    assert told(early) == ("Reconciling", "Publishing")
    assert early.look_again == pytest.approx(5)
    assert decide(ring(**ASKED, memory=confirmed(NOW - SPEC.validator_cache)), NOW).effect is not None


def test_the_wait_for_validators_begins_anew_when_a_pod_has_shown_them_a_set_without_the_reserve() -> None:
    doubted = decide(ring(consumers=pods(pod("p", "ab", "a"), pod("q", "a", "a"))), NOW)
    assert of(doubted, "b").confirmed is None
    assert of(decide(ring(), NOW), "b").confirmed == SEEN, "without a doubt it stays"


def test_an_old_keys_clock_starts_when_every_pod_signs_with_the_new_one() -> None:
    decision = decide(ring(**AFTER, memory=rotated(), consumers=ALL), NOW)
    assert of(decision, "b").confirmed == NOW
    assert of(decision, "a").retire_after == NOW + SPEC.token_lifetime + SPEC.leeway
    assert (decision.memory.history[0].result, decision.memory.history[0].took) == ("Confirmed", 300.0)
    assert told(decision) == ("Ready", "Retiring")


def test_an_old_keys_clock_doesnt_start_while_a_pod_signs_with_it_and_that_pod_is_nudged() -> None:
    decision = decide(ring(**AFTER, memory=rotated(), consumers=ONE_BEHIND), NOW)
    assert of(decision, "a").retire_after is None
    assert decision.memory.history[0].result is None
    assert told(decision) == ("Reconciling", "ConsumersLagging")
    assert decision.nudge == ("q",)
    assert [each.reason for each in decision.verdict.lagging] == ["SignsWithOther"]


def test_an_old_keys_clock_is_as_long_as_the_longest_lifetime_that_a_pod_tells() -> None:
    longer = pods(pod("p", "abc", "b"), pod("q", "abc", "b", token_lifetime=1800.0))
    decision = decide(ring(**AFTER, memory=rotated(), consumers=longer), NOW)
    assert of(decision, "a").retire_after == NOW + 1800.0 + SPEC.leeway


def test_an_old_key_leaves_when_its_clock_has_run_out_and_not_before() -> None:
    after = ring(**AFTER, memory=ending(NOW), consumers=ALL)
    assert written(decide(after, NOW)) == WriteSecret(("b", "c"), "b", 0, "EdDSA", "Schedule", "1")
    before = ring(**AFTER, memory=ending(NOW + 1), consumers=ALL)
    assert decide(before, NOW).effect is None


def test_a_pod_that_signs_with_the_old_key_again_starts_its_clock_anew() -> None:
    decision = decide(ring(**AFTER, memory=ending(NOW), consumers=ONE_BEHIND), NOW)
    assert decision.effect is None
    assert of(decision, "a").retire_after is None


def test_a_pod_that_cant_be_asked_holds_back_that_an_old_key_leaves() -> None:
    silent = pods(pod("p", "abc", "b"), Report("q", fault="Unreachable"))
    decision = decide(ring(**AFTER, memory=ending(NOW), consumers=silent), NOW)
    assert decision.effect is None
    assert told(decision) == ("Reconciling", "ConsumersLagging")


def test_no_pod_seen_where_some_are_wanted_retires_nothing() -> None:
    decision = decide(ring(**AFTER, memory=ending(NOW), consumers=pods()), NOW)
    assert decision.effect is None
    none_wanted = decide(ring(**AFTER, memory=ending(NOW), consumers=pods(wanted=0)), NOW)
    assert written(none_wanted).keep == ("b", "c")


def test_a_second_rotation_waits_until_the_first_is_confirmed() -> None:
    waiting = decide(ring(**ASKED, **AFTER, memory=rotated(), consumers=ONE_BEHIND), NOW)
    assert waiting.effect is None
    through = decide(ring(**ASKED, **AFTER, memory=rotated(confirmed=NOW - 100.0), consumers=ALL), NOW)
    assert written(through).signing == "c"


def test_a_suspended_ring_writes_nothing_and_its_clocks_run_on() -> None:
    suspended = spec(suspend=True, nonce="2", revoke=frozenset({"c"}))
    decision = decide(ring(**AFTER, spec=suspended, memory=rotated(), consumers=ALL), NOW)
    assert told(decision) == ("Suspended", "Suspended")
    assert decision.effect is None
    assert of(decision, "a").retire_after is not None
    assert (of(decision, "c").stage, decision.verdict.next_rotation) == ("Published", None)


def test_a_suspended_ring_calls_no_key_revoked_that_pods_still_have() -> None:
    asked = spec(suspend=True, revoke=frozenset({"a", "b"}))
    decision = decide(ring(**AFTER, spec=asked, memory=rotated(), consumers=ALL), NOW)
    assert {key.stage for key in decision.memory.keys} == {"Signing", "Retiring", "Published"}
    resumed = decide(ring(**AFTER, spec=spec(revoke=frozenset({"a"})), memory=decision.memory, consumers=ALL), NOW)
    assert of(resumed, "a").stage == "Revoked"


def test_a_spec_that_cant_hold_is_refused_with_its_arithmetic_and_one_that_just_holds_is_not() -> None:
    least = 2 * SPEC.propagation + SPEC.validator_cache + SPEC.token_lifetime + SPEC.leeway
    refused = decide(ring(spec=spec(rotate_every=least)), NOW)
    assert told(refused) == ("Stalled", "SpecCannotHold")
    assert refused.effect is None
    assert f"= {least:.0f}s" in refused.verdict.message
    assert decide(ring(spec=spec(rotate_every=least + 1)), NOW).verdict.state != "Stalled"


def test_a_pods_longer_lifetime_counts_in_the_arithmetic() -> None:
    least = 2 * SPEC.propagation + SPEC.validator_cache + SPEC.token_lifetime + SPEC.leeway
    longer = pods(pod("p", "ab", "a"), pod("q", "ab", "a", token_lifetime=SPEC.token_lifetime + 60))
    refused = decide(ring(spec=spec(rotate_every=least + 1), consumers=longer), NOW)
    assert told(refused) == ("Stalled", "SpecCannotHold")


def test_a_spec_that_cant_be_read_stalls_without_a_write() -> None:
    decision = decide(ring(spec_fault="no such thing"), NOW)
    assert told(decision) == ("Stalled", "InvalidSpec")
    assert decision.effect is None


@pytest.mark.parametrize("retain", [True, False])
def test_the_secret_is_owned_by_the_ring_only_if_it_is_to_be_deleted_with_it(
    retain: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    wrong = decide(ring(spec=spec(retain=retain), secret=secret("ab", "a", owned=retain)), NOW)
    assert written(wrong) == WriteSecret(("a", "b"), "a", 0, "EdDSA", "Schedule", "1")
    right = decide(ring(spec=spec(retain=retain), secret=secret("ab", "a", owned=not retain)), NOW)
    assert right.effect is None


def test_by_time_a_key_is_confirmed_once_files_had_time_to_spread_and_the_result_is_unverified() -> None:
    by_time = spec(endpoint=None)
    fresh = rotated(since=NOW - SPEC.propagation + 5)
    early = decide(ring(**AFTER, spec=by_time, memory=fresh, consumers=pods(wanted=0)), NOW)
    assert told(early) == ("Reconciling", "AwaitingPropagation")
    assert early.verdict.unverified
    assert early.look_again == pytest.approx(5)
    assert of(early, "a").retire_after is None
    late = decide(ring(**AFTER, spec=by_time, memory=fresh, consumers=pods(wanted=0)), NOW + 6)
    assert late.memory.history[0].result == "Unverified"
    assert of(late, "a").retire_after is not None


def test_a_spec_that_cant_be_read_leaves_what_is_remembered_as_it_is() -> None:
    """Not even time proves anything: what stands in for the spec has no pods to ask."""
    memory = rotated()
    found = decide(ring(spec=Spec("keys", None), memory=memory, secret=None, spec_fault="no such thing"), NOW + DAY)
    assert found.memory == memory
    assert not found.verdict.unverified


def test_a_nonce_that_is_taken_away_asks_for_nothing() -> None:
    decision = decide(ring(spec=spec(nonce="")), NOW)
    assert told(decision) == ("Ready", "Stable")
    assert decision.effect is None


def test_tokens_that_were_made_before_a_shorter_lifetime_live_as_long_as_they_say() -> None:
    shorter, hour = spec(token_lifetime=600.0), 3600.0
    signed = replace(STEADY, keys=(replace(STEADY.keys[0], lifetime=hour), STEADY.keys[1]))
    assert of(decide(ring(memory=signed, spec=shorter), NOW), "a").lifetime == hour
    ends = replace(rotated(since=NOW - 500.0), keys=(key("a", "Retiring", since=NOW - 500.0, lifetime=hour),
                   key("b", "Signing", since=NOW - 500.0), key("c", "Published", confirmed=SEEN)))  # fmt: skip
    decision = decide(ring(memory=ends, spec=shorter, consumers=ALL, **AFTER), NOW)
    assert of(decision, "a").retire_after == NOW + hour + SPEC.leeway
    assert of(decision, "b").lifetime == 600.0


def test_a_reserve_that_a_hand_or_a_pod_made_sign_stays_the_reserve_and_lives_as_long_as_those_tokens() -> None:
    changed = decide(ring(secret=secret("ab", "b", intact=False)), NOW)
    assert stages(changed) == {"a": "Signing", "b": "Published"}
    assert written(changed) == WriteSecret(("a", "b"), "a", 0, "EdDSA", "Healed", "1")
    hour = pods(pod("p", "ab", "b", token_lifetime=3600.0), pod("q", "ab", "a"))
    healed = decide(ring(consumers=hour), NOW)
    assert (of(healed, "b").stage, of(healed, "b").lifetime) == ("Published", 3600.0)
    assert healed.effect is None, "one pod that tells nonsense has no keys made without end"
    signs = decide(ring(memory=healed.memory, secret=secret("ab", "b")), NOW)
    assert (of(signs, "b").stage, of(signs, "b").lifetime) == ("Signing", 3600.0)


def test_a_key_that_a_backup_lets_sign_again_lives_as_long_as_its_former_tokens() -> None:
    retiring = replace(rotated(), keys=(replace(rotated().keys[0], lifetime=3600.0), *rotated().keys[1:]))
    again = decide(ring(memory=retiring, secret=secret("abc", "a")), NOW)
    assert (of(again, "a").stage, of(again, "a").lifetime) == ("Signing", 3600.0)


def test_a_ring_that_pods_could_not_hold_rotates_when_a_key_has_retired() -> None:
    def full(retiring: int) -> Observed:
        more = [key(f"r{number}", "Retiring", retire_after=NOW + 60) for number in range(retiring)]
        memory = replace(STEADY, keys=(*STEADY.keys, *more))
        names = tuple(each.id for each in memory.keys)
        held = tuple(HeldKey(name, "EdDSA") for name in names)
        follow = pods(*(Report(name, keys=frozenset(names), signing="a") for name in "pq"))
        return ring(**ASKED, memory=memory, secret=secret("", "a", keys=held), consumers=follow)

    assert told(decide(full(93), NOW)) == ("Reconciling", "TooManyKeys")
    assert decide(full(93), NOW).effect is None
    assert written(decide(full(92), NOW)).signing == "b"
    spare = [replace(each, stage="Published", retire_after=None) if each.id == "r0" else each
             for each in full(93).memory.keys]  # fmt: skip
    another = decide(replace(full(93), memory=replace(STEADY, keys=tuple(spare))), NOW)
    assert written(another).fresh == 0, "where no key is made, none has to go first"


def test_a_nonce_that_was_away_during_a_rotation_by_schedule_asks_for_nothing_when_it_is_back() -> None:
    scheduled = written(decide(ring(spec=spec(nonce="")), LONG_AGO + SPEC.rotate_every))
    assert (scheduled.cause, scheduled.nonce) == ("Schedule", "1")
