"""What becomes of a Secret that was changed by hand: healed where it is safe, said where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import Report
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import HeldKey, Memory, SecretSeen, WriteSecret
from unit.operator.ring_situations import (
    DAY,
    NOW,
    REVOKED_A,
    SPEC,
    ending,
    of,
    pod,
    pods,
    ring,
    secret,
    spec,
    stages,
    told,
    written,
)

EVERYTHING = frozenset("ab")


@pytest.mark.parametrize("found", [None, secret("", "", intact=False), secret("b", "", intact=False)])
def test_a_secret_that_was_deleted_or_changed_is_written_again_from_what_the_operator_still_has(
    found: SecretSeen | None,
) -> None:
    decision = decide(ring(secret=found, restorable=EVERYTHING), NOW)
    assert written(decision) == WriteSecret(("a", "b"), "a", 0, "EdDSA", "Healed", "1")


@pytest.mark.parametrize("found", [secret("b", "b", intact=False), secret("b", "b")])
def test_a_secret_that_named_the_reserve_is_written_again_and_the_reserve_is_needed_from_now_on(
    found: SecretSeen,
) -> None:
    """A pod may have signed with it meanwhile."""
    decision = decide(ring(secret=found, restorable=EVERYTHING), NOW)
    assert written(decision) == WriteSecret(("a", "b"), "a", 0, "EdDSA", "Healed", "1")
    assert stages(decision) == {"a": "Signing", "b": "Published"}
    cut = ring(memory=decision.memory, secret=secret("a", "a", intact=False))
    assert told(decide(cut, NOW)) == ("Stalled", "KeysLost"), "and so not let go"
    assert written(decide(ring(secret=secret("a", "a", intact=False)), NOW)).keep == ("a",), "one that never signed is"


@pytest.mark.parametrize("found", [None, secret("", "", intact=False), secret("b", "b", intact=False)])
def test_a_lost_key_that_signs_is_said_and_never_silently_replaced(found: SecretSeen | None) -> None:
    decision = decide(ring(secret=found), NOW)
    assert told(decision) == ("Stalled", "KeysLost")
    assert decision.effect is None
    assert "lacks the keys a," in decision.verdict.message
    assert "spec.revoke" in decision.verdict.message
    accepted = decide(ring(**REVOKED_A, secret=found), NOW)
    assert written(accepted).cause == "Revoke"


def test_a_revocation_that_waits_for_a_lost_key_is_told_with_it() -> None:
    found = secret("b", "b", intact=False)
    waiting = decide(ring(spec=spec(revoke=frozenset({"b"})), secret=found), NOW)
    assert told(waiting) == ("Stalled", "KeysLost")
    assert "Until then b, revoked, stays in it." in waiting.verdict.message
    assert "revoked, stays" not in decide(ring(secret=found), NOW).verdict.message


def test_a_lost_key_whose_tokens_are_still_valid_is_said_and_one_whose_tokens_have_expired_is_let_go() -> None:
    found = secret("bc", "b", intact=False)
    valid = decide(ring(memory=ending(NOW + 10), secret=found, consumers=pods()), NOW)
    assert told(valid) == ("Stalled", "KeysLost")
    expired = decide(ring(memory=ending(NOW), secret=found, consumers=pods()), NOW)
    assert written(expired).keep == ("b", "c")


def test_a_lost_reserve_that_never_signed_is_replaced() -> None:
    decision = decide(ring(secret=secret("a", "a", intact=False)), NOW)
    assert written(decision) == WriteSecret(("a",), "a", 1, "EdDSA", "Healed", "1")


def test_keys_that_a_hand_put_in_are_dropped_and_changed_material_isnt_trusted() -> None:
    foreign = decide(ring(secret=secret("abx", "x", intact=False)), NOW)
    assert written(foreign) == WriteSecret(("a", "b"), "a", 0, "EdDSA", "Healed", "1")
    forged = (HeldKey("a", "EdDSA", genuine=False), HeldKey("b", "EdDSA"))
    changed = decide(ring(secret=secret("", "a", keys=forged, intact=False)), NOW)
    assert told(changed) == ("Stalled", "KeysLost")


def test_a_key_that_the_operator_wrote_is_kept_although_a_hand_was_faster_than_its_next_look() -> None:
    found = ring(secret=secret("abc", "c", intact=False), restorable=frozenset("abc"))
    assert written(decide(found, NOW)).keep == ("a", "b", "c")
    assert written(decide(replace(found, restorable=EVERYTHING), NOW)).keep == ("a", "b"), "another's isn't"


def test_an_old_key_that_a_hand_lets_sign_again_has_its_whole_clock_again() -> None:
    changed = decide(ring(memory=ending(NOW), secret=secret("abc", "a", intact=False), consumers=pods()), NOW)
    assert (written(changed).keep, written(changed).signing) == (("a", "b", "c"), "b")
    (again,) = (key for key in changed.memory.keys if key.id == "a")
    assert (again.stage, again.since, again.retire_after) == ("Retiring", NOW, None)


def test_a_reserve_that_a_pod_took_up_before_a_look_saw_it_sign_is_lost_like_one_that_signs() -> None:
    cut = secret("a", "a", intact=False)
    taken_up = decide(ring(secret=cut, consumers=pods(pod("p", "ab", "a"), pod("q", "ab", "b"))), NOW)
    assert told(taken_up) == ("Stalled", "KeysLost")
    assert written(decide(ring(secret=cut), NOW)).keep == ("a",), "nobody signs with it"


def test_what_heals_is_taken_in_by_the_next_look_which_then_writes_no_more() -> None:
    lost = decide(ring(secret=secret("a", "a", intact=False)), NOW)
    healed = decide(ring(memory=lost.memory, secret=secret("ac", "a", cause="Healed")), NOW)
    assert healed.effect is None
    assert stages(healed) == {"a": "Signing", "c": "Published"}


def test_where_pods_sign_with_a_key_that_nobody_has_no_new_one_is_made_until_they_are_gone_or_it_is_given_up() -> None:
    lost = ring(memory=Memory(), secret=None)
    decision = decide(lost, NOW)
    assert told(decision) == ("Reconciling", "KeysElsewhere")
    assert decision.effect is None
    assert "KeyRing doesn't know: p, q." in decision.verdict.message
    given_up = decide(ring(**REVOKED_A, memory=Memory(), secret=None), NOW)
    assert written(given_up).fresh == 2
    nobody_left = decide(replace(lost, consumers=pods()), NOW)
    assert written(nobody_left).cause == "Created"


def test_where_pods_that_run_cant_be_asked_no_key_is_made_and_one_that_only_starts_has_made_no_token() -> None:
    silent = pods(Report("p", fault="TimedOut"), Report("q", fault="Unreachable"))
    decision = decide(ring(memory=Memory(), secret=None, consumers=silent), NOW)
    assert told(decision) == ("Reconciling", "KeysElsewhere")
    assert "sign with: p (TimedOut)." in decision.verdict.message
    starts = pods(Report("p", fault="TimedOut", starting=True))
    assert written(decide(ring(memory=Memory(), secret=None, consumers=starts), NOW)).cause == "Created"
    first_ring = pods(Report("p", fault="BadStatus"), Report("q", fault="Unreachable"))
    assert written(decide(ring(memory=Memory(), secret=None, consumers=first_ring), NOW)).cause == "Created"
    all_given_up = ring(secret=None, spec=spec(revoke=frozenset("ab")), consumers=silent)
    assert written(decide(all_given_up, NOW)).cause == "Revoke"


def test_what_pods_tell_is_not_repeated_by_a_ring_that_lost_its_keys() -> None:
    many = pods(*(pod(f"p{number}", "x", f"secret-{number}") for number in range(100)))
    message = decide(ring(memory=Memory(), secret=None, consumers=many), NOW).verdict.message
    assert "secret-" not in message
    assert len(message) < 1000
    assert "spec.revoke" in message


@pytest.mark.parametrize("found", [secret("b", "b", intact=False), secret("ab", "b", intact=False)])
def test_a_key_that_was_revoked_by_hand_leaves_the_reserve_to_sign(found: SecretSeen) -> None:
    """As the documents say to do it while the operator is dead."""
    decision = decide(ring(**REVOKED_A, secret=found), NOW)
    assert (written(decision).keep, written(decision).signing) == (("b",), "b")
    assert stages(decision) == {"a": "Revoked", "b": "Published"}


def test_a_revoked_key_does_not_wait_for_another_that_is_lost_where_one_is_left_to_sign() -> None:
    lost = ending(NOW + 10)
    revoked = spec(revoke=frozenset({"b"}))
    decision = decide(ring(memory=lost, spec=revoked, secret=secret("bc", "b"), consumers=pods()), NOW)
    assert told(decision) == ("Reconciling", "Revoking")
    assert (written(decision).keep, written(decision).signing) == (("c",), "c")
    after = decide(ring(memory=decision.memory, spec=revoked, secret=secret("c", "c"), consumers=pods()), NOW)
    assert told(after) == ("Stalled", "KeysLost"), "which still says what is lost"
    assert "lacks the keys a," in after.verdict.message
    assert after.effect is None
    damaged = ring(memory=lost, spec=revoked, secret=secret("bc", "", intact=False, unfit=("a",)), consumers=pods())
    assert decide(damaged, NOW).effect is None, "pods don't load it, and hold what is lost"


def test_a_lost_reserve_that_signed_once_is_needed_until_those_tokens_have_expired() -> None:
    used = decide(ring(secret=secret("ab", "b", intact=False), restorable=EVERYTHING), NOW)
    cut = ring(memory=used.memory, secret=secret("a", "a", intact=False))
    expired = NOW + SPEC.propagation + SPEC.token_lifetime + SPEC.leeway
    assert told(decide(cut, expired - 1)) == ("Stalled", "KeysLost")
    assert written(decide(cut, expired)).keep == ("a",)


def test_a_reserve_that_signed_once_is_needed_as_long_as_a_pod_that_may_sign_with_it_tells_nothing() -> None:
    used = decide(ring(secret=secret("ab", "b", intact=False), consumers=pods(pod("p", "ab", "b"))), NOW)
    silent = pods(Report("p", fault="TimedOut"), pod("q", "ab", "a"))
    later = NOW + DAY
    unheard = decide(ring(memory=used.memory, consumers=silent), later)
    longest = SPEC.token_lifetime + SPEC.leeway
    assert of(unheard, "b").retire_after == later + SPEC.propagation + longest
    lost = ring(**REVOKED_A, memory=unheard.memory, secret=None, consumers=silent)
    assert told(decide(lost, later + DAY)) == ("Stalled", "KeysLost"), "no silent new one"

    heard = decide(ring(memory=used.memory), later)
    assert of(heard, "b").retire_after is not None, "until just now a pod may have signed with it"
    assert of(decide(ring(memory=heard.memory), later + longest - 1), "b").retire_after is not None
    assert of(decide(ring(memory=heard.memory), later + longest), "b").retire_after is None


def test_by_time_a_reserve_that_signed_once_is_needed_until_its_clock_ends() -> None:
    by_time = replace(SPEC, endpoint=None)
    used = decide(ring(spec=by_time, secret=secret("ab", "b", intact=False), consumers=pods()), NOW)
    end = NOW + SPEC.propagation + SPEC.token_lifetime + SPEC.leeway
    for moment, needs in ((end - 1, True), (end, False)):
        found = decide(ring(spec=by_time, memory=used.memory, consumers=pods()), moment)
        assert (of(found, "b").retire_after is not None) is needs


def test_what_only_spec_revoke_lists_is_no_sign_that_this_ring_ever_had_keys() -> None:
    silent = pods(Report("p", fault="TimedOut"))
    anew = ring(memory=Memory(), secret=None, spec=spec(revoke=frozenset({"old"})), consumers=silent)
    first = decide(anew, NOW)
    assert told(first) == ("Reconciling", "KeysElsewhere")
    assert told(decide(replace(anew, memory=first.memory), NOW + 60)) == ("Reconciling", "KeysElsewhere")


@pytest.mark.parametrize("fault", ["Malformed", "TooLarge", "NoAddress"])
def test_a_pod_that_may_serve_keys_has_no_new_ones_made_before_it_is_understood(fault: str) -> None:
    told_nothing = ring(memory=Memory(), secret=None, consumers=pods(Report("p", fault=fault)))
    assert told(decide(told_nothing, NOW)) == ("Reconciling", "KeysElsewhere")
