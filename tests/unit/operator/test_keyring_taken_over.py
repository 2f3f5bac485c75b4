"""A Secret of somebody else's: left alone, or taken over whole, and only if its label offers it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import HeldKey, Memory, WriteSecret
from slipway_operator.secret_objects import label_value
from unit.operator.ring_situations import (
    NOW,
    REVOKED_A,
    ring,
    secret,
    spec,
    told,
    written,
)


@pytest.mark.parametrize(
    ("offered", "answer"), [(False, ("Stalled", "SecretNotOurs")), (True, ("Reconciling", "TakingOver"))]
)
def test_a_secret_of_somebody_else_is_taken_over_only_if_its_label_offers_it(
    offered: bool,  # noqa: FBT001 - a parameter of the test
    answer: tuple[str, str],
) -> None:
    decision = decide(ring(memory=Memory(), secret=secret("xy", "x", ours=False, offered=offered)), NOW)
    assert told(decision) == answer
    if offered:
        assert written(decision) == WriteSecret(("x", "y"), "x", 1, "EdDSA", "Healed", "1")
    else:
        assert decision.effect is None
        assert "slipway.dev/take-over=ring" in decision.verdict.message


def test_an_offered_secret_without_a_key_that_signs_is_left_alone() -> None:
    decision = decide(ring(memory=Memory(), secret=secret("xy", "", ours=False, offered=True)), NOW)
    assert told(decision) == ("Stalled", "SecretUnusable")
    assert decision.effect is None


def test_the_label_that_offers_a_secret_has_room_for_the_name_of_a_ring() -> None:
    foreign = secret("xy", "x", ours=False)
    decision = decide(replace(ring(memory=Memory(), secret=foreign), name="r" * 100), NOW)
    value = decision.verdict.message.rpartition("slipway.dev/take-over=")[2]
    assert value == label_value("r" * 100)
    assert len(value) == 63


def test_a_secret_whose_keys_could_not_all_be_held_is_not_taken_over_until_they_are_given_up() -> None:
    offered = secret("xy", "x", ours=False, offered=True, unfit=("old", "number 4"))
    decision = decide(ring(memory=Memory(), secret=offered), NOW)
    assert told(decision) == ("Stalled", "SecretUnusable")
    assert "(old, number 4)" in decision.verdict.message
    named = replace(offered, unfit=("old",))
    given_up = decide(ring(memory=Memory(), secret=named, spec=spec(revoke=frozenset({"old"}))), NOW)
    assert told(given_up) == ("Reconciling", "TakingOver")


def test_an_offered_secret_that_lacks_keys_which_valid_tokens_need_is_not_taken_over_until_they_are_given_up() -> None:
    offered = secret("xy", "x", ours=False, offered=True)
    decision = decide(ring(secret=offered), NOW)
    assert told(decision) == ("Stalled", "SecretUnusable")
    assert "valid tokens need: a." in decision.verdict.message
    assert told(decide(ring(**REVOKED_A, secret=offered), NOW)) == ("Reconciling", "TakingOver")
    with_it = replace(offered, keys=(*offered.keys, HeldKey("a", "EdDSA")))
    assert written(decide(ring(secret=with_it), NOW)).keep == ("a", "x", "y")


def test_a_secret_with_so_many_keys_that_a_ring_has_no_room_for_more_is_not_taken_over() -> None:
    keys = tuple(HeldKey(f"k{number}", "EdDSA") for number in range(91))
    offered = replace(secret("x", "k0", ours=False, offered=True), keys=keys)
    assert told(decide(ring(memory=Memory(), secret=offered), NOW)) == ("Stalled", "SecretUnusable")
    fewer = replace(offered, keys=keys[:90])
    assert told(decide(ring(memory=Memory(), secret=fewer), NOW)) == ("Reconciling", "TakingOver")
