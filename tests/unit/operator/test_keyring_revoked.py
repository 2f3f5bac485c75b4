"""A key that is revoked leaves at once, and never comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import Consumers, Report
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import HeldKey, Memory, WriteSecret
from unit.operator.ring_situations import (
    ALL,
    NOW,
    REVOKED_A,
    SEEN,
    STEADY,
    ending,
    key,
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


@pytest.mark.parametrize("confirmed", [None, SEEN])
def test_a_revoked_key_that_signs_gives_way_to_the_reserve_at_once_whether_it_is_confirmed_or_not(
    confirmed: float | None,
) -> None:
    memory = replace(STEADY, keys=(STEADY.keys[0], replace(STEADY.keys[1], confirmed=confirmed)))
    decision = decide(ring(**REVOKED_A, memory=memory, consumers=pods()), NOW)
    assert written(decision) == WriteSecret(("b",), "b", 1, "EdDSA", "Revoke", "1")
    assert stages(decision)["a"] == "Revoked"


def test_when_all_keys_are_revoked_a_new_one_signs() -> None:
    decision = decide(ring(spec=spec(revoke=frozenset("ab"))), NOW)
    assert written(decision) == WriteSecret((), None, 2, "EdDSA", "Revoke", "1")


@pytest.mark.parametrize(
    "others",
    [
        pods(pod("p", "ab", "a"), Report("q", "TimedOut")),
        pods(pod("p", "ab", "a"), Report("q", "TimedOut", starting=True)),
        pods(Report("p", "TimedOut")),
    ],
    ids=["a pod hangs", "a pod starts", "nobody can be asked"],
)
def test_of_reserves_that_are_not_yet_for_all_the_one_signs_that_most_know(others: Consumers) -> None:
    """Else the one that was published first, whatever its algorithm."""
    wanted = spec(algorithm="ES256", revoke=frozenset("a"))
    memory = Memory(
        (STEADY.keys[0], key("b", "Published"), key("c", "Published", algorithm="ES256", since=NOW - 1)), "1"
    )
    held = (*secret("ab", "a").keys, HeldKey("c", "ES256"))
    found = decide(ring(spec=wanted, memory=memory, secret=secret("", "a", keys=held), consumers=others), NOW)
    assert written(found).signing == "b"


def test_an_old_key_that_a_hand_lets_sign_again_outlasts_a_revoke_by_hand() -> None:
    signs = pods(pod("p", "ac", "a"), pod("q", "ac", "a"))
    found = secret("ac", "a", intact=False)
    decision = decide(ring(memory=ending(NOW), secret=found, spec=spec(revoke=frozenset("b")), consumers=signs), NOW)
    assert written(decision).keep == ("a", "c")


def test_a_revoked_key_that_a_restored_secret_brings_back_leaves_again() -> None:
    memory = Memory((key("b", "Signing", confirmed=SEEN), key("c", "Published"), key("a", "Revoked")), "1")
    decision = decide(ring(memory=memory, secret=secret("abc", "b"), consumers=ALL), NOW)
    assert stages(decision)["a"] == "Revoked", "also when spec.revoke no longer lists it"
    assert written(decision).keep == ("b", "c")


def test_a_revoke_is_under_way_while_a_pod_holds_the_key_and_tells_which_were_reached() -> None:
    memory = Memory((key("b", "Signing", confirmed=SEEN), key("c", "Published"), key("a", "Revoked")), "1")
    gone = ring(
        **REVOKED_A, memory=memory, secret=secret("bc", "b"), consumers=pods(pod("p", "bc", "b"), pod("q", "abc", "b"))
    )
    decision = decide(gone, NOW)
    assert told(decision) == ("Reconciling", "Revoking")
    assert "q (HoldsRevoked)" in decision.verdict.message
    assert "Reached: p" in decision.verdict.message
    assert decision.nudge == ("q",)
    all_reached = replace(gone, consumers=pods(pod("p", "bc", "b"), pod("q", "bc", "b")))
    assert decide(all_reached, NOW).verdict.state == "Ready"


def test_a_revoke_is_under_way_while_a_pod_cannot_be_asked_or_none_runs_although_some_should() -> None:
    memory = Memory((key("b", "Signing", confirmed=SEEN), key("c", "Published"), key("a", "Revoked")), "1")
    gone = ring(**REVOKED_A, memory=memory, secret=secret("bc", "b"))
    silent = decide(replace(gone, consumers=pods(pod("p", "bc", "b"), Report("q", "TimedOut"))), NOW)
    assert told(silent) == ("Reconciling", "Revoking")
    assert "q (TimedOut)" in silent.verdict.message
    nobody = decide(replace(gone, consumers=Consumers((), wanted=2, refers=True)), NOW)
    assert told(nobody) == ("Reconciling", "AwaitingConsumers")
    stopped = decide(replace(gone, consumers=Consumers((), wanted=0, refers=True)), NOW)
    assert stopped.verdict.state == "Ready"


def test_a_rotation_that_a_revoke_overtakes_is_superseded() -> None:
    decision = decide(
        ring(memory=rotated(), secret=secret("cd", "c", cause="Revoke"), spec=spec(revoke=frozenset("ab"))), NOW
    )
    newest, former = decision.memory.history[:2]
    assert (newest.to, newest.cause, newest.origin) == ("c", "Revoke", "b")
    assert (former.to, former.result) == ("b", "Superseded")
