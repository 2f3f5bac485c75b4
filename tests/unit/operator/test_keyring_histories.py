"""Properties of a key ring over random histories, and over observations that make no sense at all."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import (
    Cause,
    Decision,
    HeldKey,
    Key,
    Memory,
    Observed,
    SecretSeen,
    Spec,
    Stage,
)
from unit.operator.ring_histories import Action, Decide, Ring

USUAL = (
    *("look",) * 20, *("load",) * 12, *("wait",) * 8, *("start",) * 4, *("replace",) * 2, "deafen", "crash", "rotate",
)  # fmt: skip
UNSEEN = ("blind",)
"""What uses the Secret is seen, or no more: a name was mistyped, or a selector, or a right is taken away."""
BY_HAND = ("delete", "edit", "revoke")
"""As rare as all else that breaks the usual course: of keys that are lost or revoked nothing is promised."""
TIME_AND_BACKUPS = ("turn", "save", "restore")


def history(seed: int, length: int, whats: tuple[str, ...]) -> list[Action]:
    chance = random.Random(seed)  # noqa: S311 - a history, no secret
    return [(chance.choice(whats), chance.randint(0, 20)) for _ in range(length)]


def lived(actions: list[Action], with_decide: Decide) -> Ring:
    """The ring after this history, and after all that it began has come to its end."""
    ring = Ring(with_decide)
    for action in actions:
        ring.act(action)
    ring.settle()
    return ring


def decide_twice(observed: Observed, now: float) -> Decision:
    decision = decide(observed, now)
    assert decision == decide(observed, now), "nothing but what it is given decides"
    return decision


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_in_no_history_a_valid_token_is_refused_or_a_revoked_key_comes_back_and_each_comes_to_an_end(
    seed: int, length: int
) -> None:
    # A clock that is set back makes every wait longer; one that is set forward can't be told from time that passed.
    actions = history(seed, length, (*USUAL, *UNSEEN, *BY_HAND, "turn_back"))
    assert lived(actions, decide_twice).faults == [], actions


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_whatever_the_clock_and_backups_do_no_revoked_key_comes_back_and_no_new_keys_come_silently(
    seed: int, length: int
) -> None:
    actions = history(seed, length, (*USUAL, *BY_HAND, *TIME_AND_BACKUPS))
    faults = lived(actions, decide_twice).faults
    assert [fault for fault in faults if not fault.startswith(("a validator may lack", "k"))] == [], actions


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_with_nothing_seen_that_refers_to_the_secret_no_step_is_taken_in_any_history(seed: int, length: int) -> None:
    actions = [("blind", 0), *history(seed, length, (*USUAL, *BY_HAND, *TIME_AND_BACKUPS))]
    faults = lived(actions, decide_twice).faults
    assert [fault for fault in faults if fault.endswith("by nothing")] == [], actions


def without_overlap(observed: Observed, now: float) -> Decision:
    return decide(replace(observed, spec=replace(observed.spec, token_lifetime=0.0, leeway=0.0)), now)


def without_a_wait_for_validators(observed: Observed, now: float) -> Decision:
    return decide(replace(observed, spec=replace(observed.spec, validator_cache=0.0)), now)


def with_all_pods_heard(observed: Observed, now: float) -> Decision:
    """As if those that can't be asked, or aren't seen, followed."""
    heard = tuple(report for report in observed.consumers.reports if not report.fault)
    return decide(replace(observed, consumers=Consumers(heard, refers=True)), now)


def with_nothing_seen_taken_for_all(observed: Observed, now: float) -> Decision:
    return decide(replace(observed, consumers=replace(observed.consumers, refers=True)), now)


def with_keys_made_anew(observed: Observed, now: float) -> Decision:
    """As if a Secret that is gone were the first one, and no pod signed with anything."""
    return decide(observed if observed.secret else replace(observed, memory=Memory(), consumers=Consumers()), now)


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        pytest.param(without_overlap, "is missed in a pod", id="keys overlap"),
        pytest.param(without_a_wait_for_validators, "a validator may lack", id="validators have fetched it"),
        pytest.param(with_all_pods_heard, "is missed in a pod", id="what can't be asked lags"),
        pytest.param(with_nothing_seen_taken_for_all, "signs by nothing", id="nothing seen proves nothing"),
        pytest.param(with_keys_made_anew, "is missed in a pod", id="a deleted Secret is healed or said"),
    ],
)
def test_a_broken_guard_shows_in_some_history(broken: Decide, fault: str) -> None:
    kinds = ((*USUAL, *BY_HAND), (*USUAL, *BY_HAND, *UNSEEN))
    usual = (history(seed, 150, whats) for seed in range(200) for whats in kinds)
    assert any(fault in each for actions in usual for each in lived(actions, broken).faults)


ids = st.sampled_from(["a", "b", "c", "d"])
moments = st.sampled_from([0.0, 900.0, 1000.0, 1100.0, 1e9])
maybe = st.one_of(st.none(), moments)
algorithms = st.sampled_from(["EdDSA", "ES256"])
keys = st.builds(
    Key,
    ids,
    algorithms,
    st.sampled_from(cast("list[Stage]", ["Published", "Signing", "Retiring", "Revoked"])),
    moments,
    moments,
    maybe,
    maybe,
)
secrets = st.builds(
    SecretSeen,
    st.lists(st.builds(HeldKey, ids, algorithms, st.booleans()), max_size=4, unique_by=lambda key: key.id).map(tuple),
    st.sampled_from(["", "a", "b", "z"]),
    ours=st.booleans(),
    offered=st.booleans(),
    intact=st.just(value=False),
    owned=st.booleans(),
    cause=st.sampled_from(cast("list[Cause]", ["Schedule", "Nonce", "Revoke", "Created", "Healed"])),
)
reports = st.builds(
    Report, ids, st.sampled_from(["", "TimedOut"]), st.frozensets(ids), ids, moments, starting=st.booleans()
)
specs = st.builds(
    Spec,
    st.just("keys"),
    st.sampled_from([None, Endpoint("app=slipway")]),
    algorithms,
    nonce=st.sampled_from(["", "1"]),
    revoke=st.frozensets(ids, max_size=2),
    retain=st.booleans(),
    suspend=st.booleans(),
)
observations = st.builds(
    Observed,
    st.just("ring"),
    specs,
    st.builds(Memory, st.lists(keys, max_size=4, unique_by=lambda key: key.id).map(tuple)),
    st.one_of(st.none(), secrets),
    st.builds(Consumers, st.lists(reports, max_size=3).map(tuple), st.integers(0, 3), st.booleans()),
    st.frozensets(ids),
    spec_fault=st.sampled_from([None, "no such thing"]),
)


@settings(max_examples=500, deadline=None)
@given(observations, moments)
def test_whatever_is_observed_a_write_is_one_that_can_be_made_and_never_holds_what_is_revoked(
    observed: Observed, now: float
) -> None:
    decision = decide_twice(observed, now)
    lagging = [one.pod for one in decision.verdict.lagging]
    assert len(set(lagging)) == len(lagging) <= decision.verdict.running - decision.verdict.confirmed
    effect, secret = decision.effect, observed.secret
    if effect is None:
        return
    held = {key.id for key in secret.keys} if secret is not None else set()
    assert set(effect.keep) <= held | observed.restorable, "only what there is can be kept"
    assert not set(effect.keep) & observed.spec.revoke
    assert effect.signing in effect.keep or (effect.signing is None and effect.fresh > 0)
    assert 0 <= effect.fresh <= 2
    assert decision.look_again == 0.0
    assert not observed.spec.suspend
    assert observed.spec_fault is None
    assert secret is None or secret.ours or secret.offered, "what is somebody else's is left alone"
