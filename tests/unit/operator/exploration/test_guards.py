"""What the walk finds once a guard of `decide` is broken: the shortest history that shows what the guard is for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from slipway_operator.migrations import decide as decisions
from slipway_operator.migrations import pods, remember
from slipway_operator.migrations.model import Approval, JobSeen, Memory, Observed
from slipway_operator.migrations.situation import Situation
from unit.operator.exploration.explorer import explore
from unit.operator.exploration.moves import Operator

Break = Callable[[pytest.MonkeyPatch], None]

BOUND = 400_000


def without(*checks: decisions.Check) -> Break:
    """Take checks out of the chain."""
    left = tuple(each for each in decisions.CHECKS if each not in checks)
    assert len(left) == len(decisions.CHECKS) - len(checks)
    return lambda patch: patch.setattr(decisions, "CHECKS", left)


def let_pass_stale_lists(patch: pytest.MonkeyPatch) -> None:
    def always(_: Situation) -> bool:
        return True

    patch.setattr(decisions, "knew_of_announcement", always)


def forget_gates_in_flight(patch: pytest.MonkeyPatch) -> None:
    def never(_since: float, _announced_at: float) -> bool:
        return False

    patch.setattr(pods, "began_before", never)


def take_every_image_for_ours(patch: pytest.MonkeyPatch) -> None:
    def always(_pod: object, _image_id: str) -> bool:
        return True

    patch.setattr(pods, "has_image", always)


def take_names_of_jobs_again(patch: pytest.MonkeyPatch) -> None:
    def same_round(memory: Memory, observed: Observed) -> Memory:
        return replace(Memory(), plan_key=f"{observed.spec.plan_key}.1", revision=memory.revision)

    patch.setattr(remember, "_next_round", same_round)


def overlook_active_jobs(patch: pytest.MonkeyPatch) -> None:
    def none(_: Observed) -> list[JobSeen]:
        return []

    patch.setattr(decisions, "active_jobs", none)
    patch.setattr(remember, "active_jobs", none)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("broken", "approval", "fault"),
    [
        pytest.param(let_pass_stale_lists, "Never", "a pod of release 0 lives", id="a fresh list after announcing"),
        pytest.param(forget_gates_in_flight, "Never", "a pod of release 0 lives", id="gates that began before"),
        pytest.param(
            without(decisions.pods_were_seen), "Never", "a pod of release 0 lives", id="an empty list proves nothing"
        ),
        pytest.param(
            without(decisions.rolled_out), "Never", "before the rollout is complete", id="the rollout is complete"
        ),
        pytest.param(
            without(decisions.no_pod_broken), "Never", "a pod of release 0 lives", id="no living pod is broken"
        ),
        pytest.param(overlook_active_jobs, "Never", "two Jobs are active", id="one Job at a time"),
        pytest.param(
            without(decisions.contract_approved), "Destructive", "nobody approved it", id="a contract is approved"
        ),
        pytest.param(take_every_image_for_ours, "Never", "a pod of release 0 lives", id="images are compared"),
        pytest.param(
            without(decisions.announced, decisions.seen_since_announced),
            "Never",
            "isn't announced",
            id="a contract is announced",
        ),
        pytest.param(without(decisions.withdrawn), "Never", "no way leads to an end", id="announcements are withdrawn"),
        pytest.param(
            take_names_of_jobs_again, "Never", "isn't announced", id="Jobs of an earlier life are no evidence"
        ),
    ],
)
def test_breaking_a_guard_is_found_with_the_shortest_history(
    broken: Break, approval: Approval, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch)
    # With as few disturbances as show it, which keeps the walk short. Two are of one kind.
    for disturbances, only in ((0, ""), (1, ""), (2, "operator is given"), (2, "helm")):
        found = explore(Operator(decisions.decide, approval), disturbances, bound=BOUND, only=only)
        if found.fault is not None:
            break
    assert found.fault is not None, f"not found in {found.states} states"
    assert fault in found.fault
    with capsys.disabled():
        print(f"\n{found.told()}", file=sys.stderr)  # noqa: T201 - for people to read
