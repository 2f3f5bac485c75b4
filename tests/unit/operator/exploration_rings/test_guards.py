"""What the walk finds once a guard of key rings is broken: the shortest history that shows what the guard is for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.evidence.consumers import Following
from slipway_operator.keyrings import decide as decisions
from slipway_operator.keyrings import take_in
from slipway_operator.keyrings.model import Decision, Key, Memory, Observed, Spec
from slipway_operator.keyrings.steps import write
from slipway_operator.keyrings.take_in import Situation
from unit.operator.exploration_rings.explorer import explore
from unit.operator.exploration_rings.moves import Decide

Break = Callable[[pytest.MonkeyPatch], Decide]
BOUND = 400_000


def no_overlap(patch: pytest.MonkeyPatch) -> Decide:
    def at_once(key: Key, _: Key, __: Observed, now: float) -> Key:
        return replace(key, retire_after=now) if key.stage == "Retiring" else key

    patch.setattr(take_in, "_retiring", at_once)
    return decisions.decide


def sign_before_pods_confirm(patch: pytest.MonkeyPatch) -> Decide:
    real = take_in.follows

    def follows(observed: Observed, key: Key, now: float) -> Following:
        return Following() if key.stage == "Published" else real(observed, key, now)

    patch.setattr(take_in, "follows", follows)
    return decisions.decide


def sign_before_validators_fetch(_: pytest.MonkeyPatch) -> Decide:
    def decide(observed: Observed, now: float) -> Decision:
        return decisions.decide(replace(observed, spec=replace(observed.spec, validator_cache=0.0)), now)

    return decide


def trust_files_after_healing(patch: pytest.MonkeyPatch) -> Decide:
    patch.setattr(take_in, "_mended", lambda memory, _: memory)
    return decisions.decide


def take_an_empty_list_for_all(_: pytest.MonkeyPatch) -> Decide:
    def decide(observed: Observed, now: float) -> Decision:
        return decisions.decide(replace(observed, consumers=replace(observed.consumers, wanted=0)), now)

    return decide


def take_nothing_seen_for_all(_: pytest.MonkeyPatch) -> Decide:
    def decide(observed: Observed, now: float) -> Decision:
        return decisions.decide(replace(observed, consumers=replace(observed.consumers, refers=True)), now)

    return decide


def forget_pods_that_start(patch: pytest.MonkeyPatch) -> Decide:
    def at_once(key: Key, _: Spec) -> float:
        return key.since

    for module in (take_in, decisions):
        patch.setattr(module, "settled", at_once)
    return decisions.decide


def overlook_revokes(patch: pytest.MonkeyPatch) -> Decide:
    def none(memory: Memory, *_: Any) -> Memory:
        return memory

    patch.setattr(take_in, "_revoked", none)
    return decisions.decide


def make_new_keys_silently(patch: pytest.MonkeyPatch) -> Decide:
    def anew(seen: Situation) -> Decision:
        return write(seen, "Healing", "", keep=(), signing=None, cause="Healed")

    patch.setattr(decisions, "missing_secret", anew)
    return decisions.decide


def pass_over_the_reserve(patch: pytest.MonkeyPatch) -> Decide:
    patch.setattr(Situation, "heir", lambda *_: None)
    return decisions.decide


def forget_what_was_just_written(patch: pytest.MonkeyPatch) -> Decide:
    patch.setattr(take_in, "_unseen", lambda memory, *_: memory)
    return decisions.decide


def write_from_what_is_at_hand(patch: pytest.MonkeyPatch) -> Decide:
    """As if a Secret that was put back from elsewhere, or cut down, were a decision of the operator's own."""
    patch.setattr(take_in, "lacking", lambda *_: ())
    patch.setattr(decisions, "lacking", lambda *_: ())

    def decide(observed: Observed, now: float) -> Decision:
        secret = observed.secret
        return decisions.decide(replace(observed, secret=replace(secret, intact=True) if secret else None), now)

    return decide


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        pytest.param(no_overlap, "a valid token's key is missing", id="keys overlap"),
        pytest.param(sign_before_pods_confirm, "a valid token's key is missing", id="every pod holds it first"),
        pytest.param(sign_before_validators_fetch, "a validator may lack", id="validators have fetched it"),
        pytest.param(trust_files_after_healing, "a validator may lack", id="the wait begins anew after healing"),
        pytest.param(take_an_empty_list_for_all, "", id="an empty list proves nothing"),
        pytest.param(take_nothing_seen_for_all, "", id="nothing that refers proves nothing"),
        pytest.param(forget_pods_that_start, "", id="files of pods that start are old"),
        pytest.param(overlook_revokes, "no way leads to an end", id="a revoked key leaves"),
        pytest.param(make_new_keys_silently, "new keys take the place of all", id="never silently new keys"),
        pytest.param(pass_over_the_reserve, "a revoke passes over", id="the reserve is there for a revoke"),
        pytest.param(forget_what_was_just_written, "a valid token's key is missing", id="own keys are no foreign ones"),
        pytest.param(write_from_what_is_at_hand, "", id="what is lost is healed or said"),
    ],
)
def test_breaking_a_guard_is_found_with_the_shortest_history(
    broken: Break, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decide = broken(monkeypatch)
    # With as few disturbances as show it, which keeps the walk short. Two are of these kinds.
    only = ("a pod is replaced", "the Secret is deleted", "a rotation is asked for")
    for disturbances, young, which in ((1, False, ()), (1, True, ()), (2, False, only), (2, True, only)):
        found = explore(decide, disturbances, bound=BOUND, young=young, only=which)
        if found.fault is not None:
            break
    assert found.fault is not None, f"not found in {found.states} states"
    assert fault in found.fault, found.told()
    with capsys.disabled():
        print(f"\n{found.told()}", file=sys.stderr)  # noqa: T201 - for people to read
