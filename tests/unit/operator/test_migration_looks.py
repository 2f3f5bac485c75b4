"""When a migration is looked at again, for each reason, and how many pods a contract wants to have seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import GateSeen, Observed, PodSeen, Trouble, WorkloadSeen
from unit.operator.test_migration_decide import (
    ANNOUNCED,
    EXPANDED,
    NEW,
    NOW,
    OBJECTED,
    OLD,
    PLANNED,
    ROLLING,
    STRANDED,
    job,
    look,
    partly,
)

REFUSED = Trouble("JobRefused", "By policy.", lasting=True)
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
CASES: dict[str, tuple[Observed, str, float | None]] = {
    "a Job to make": (look(), "Expanding", 2.0),
    "a Job that runs": (look(jobs=(job("expand", "running"),)), "Expanding", 2.0),
    "a Job in trouble": (look(jobs=(job("expand", "running", trouble=REFUSED),)), "JobRefused", 2.0),
    "a Job of another wish": (look(jobs=(job("expand", "running", plan_key="k.0"),)), "EarlierRunActive", 2.0),
    "one that never began": (look(jobs=(job("plan", "starting", plan_key="k.0"),)), "EarlierRunActive", 2.0),
    "a Job that is held": (look(jobs=(job("expand", "succeeded", held_by=("proxy",)),)), "SidecarHolds", 2.0),
    "suspended": (look(spec={"suspend": True}), "Suspended", None),
    "no container": (look(workload=WorkloadSeen(2, None, rolled_out=True)), "ContainerMissing", 30.0),
    "nothing pending": (look(partly(revisions=())), "UpToDate", None),
    "objections": (look(OBJECTED), "LintFailed", None),
    "a person to approve": (look(spec={"approval": "Always"}), "AwaitingApproval", None),
    "a rollout": (look(EXPANDED, workload=ROLLING), "RollingOut", 2.0),
    "another image": (look(EXPANDED, workload=WorkloadSeen(2, "app:0", rolled_out=True)), "RollingOut", 2.0),
    "an old pod": (look(EXPANDED, pods=(OLD, *NEW)), "OldPodsRemain", 2.0),
    "a release that was skipped": (look(STRANDED, pods=(OLD,)), "ReleaseSkipped", 30.0),
    "pods that were not seen": (look(EXPANDED, pods=NEW[:1]), "PodsNotSeen", 2.0),
    "an announcement to make": (look(EXPANDED), "Announcing", 2.0),
    "one that was just made": (look(EXPANDED, jobs=(job("announce", "succeeded"),)), "Announced", 0.1),
    "a contract": (look(ANNOUNCED), "Contracting", 2.0),
}


@pytest.mark.parametrize(("seen", "reason", "wait"), CASES.values(), ids=CASES)
def test_the_next_look_is_soon_while_something_is_under_way_and_seldom_where_only_others_move(
    seen: Observed, reason: str, wait: float | None
) -> None:
    decision = decide(seen, NOW)
    assert (decision.verdict.reason, decision.look_again) == (reason, wait)


@pytest.mark.parametrize(
    ("wanted", "seen", "reason"),
    [(2, 2, "Announcing"), (2, 1, "PodsNotSeen"), (1, 1, "Announcing"), (0, 0, "Announcing"), (1, 0, "PodsNotSeen")],
)
def test_a_contract_waits_until_as_many_pods_were_seen_as_are_wanted(wanted: int, seen: int, reason: str) -> None:
    complete = WorkloadSeen(wanted, "app:1", rolled_out=True)
    decision = decide(look(EXPANDED, workload=complete, pods=NEW[:seen]), NOW)
    assert decision.verdict.reason == reason
    if reason == "PodsNotSeen":
        assert decision.verdict.message.startswith(f"Of {wanted} wanted pods {seen} were seen")


@pytest.mark.parametrize(
    ("wanted", "seen", "reason"), [(2, 1, "Announcing"), (2, 0, "PodsNotSeen"), (0, 0, "Announcing")]
)
def test_where_a_release_was_skipped_one_pod_of_the_new_image_is_enough(wanted: int, seen: int, reason: str) -> None:
    workload = WorkloadSeen(wanted, "app:1", rolled_out=False)
    memory = replace(STRANDED, image_id="id1")
    assert decide(look(memory, workload=workload, pods=NEW[:seen]), NOW).verdict.reason == reason


def test_of_several_names_that_an_image_was_rewritten_to_the_first_is_told() -> None:
    names = frozenset({"mirror-b.example/app:1", "mirror-a.example/app:1"})
    pod = PodSeen("p", frozenset({f"mirror-a.example/app@{OTHER}"}), GateSeen("passed"), names)
    memory = replace(EXPANDED, image_id=f"app@{DIGEST}")
    decision = decide(look(memory, pods=(pod,)), NOW)
    assert (decision.verdict.reason, decision.look_again) == ("ImageRewritten", 2.0)
    assert "pod p has mirror-a.example/app:1 in the place of app:1" in decision.verdict.message
    assert f"isn't what was planned ({DIGEST})" in decision.verdict.message


def test_a_plan_that_runs_again_after_it_was_given_up_is_looked_at_soon_and_stays_stalled() -> None:
    given_up = replace(PLANNED, plan=None, done=frozenset(), attempts={"plan": 9}, failure=REFUSED, failed_at=NOW)
    decision = decide(look(given_up, jobs=(job("plan", "running", attempt=9),)), NOW)
    assert (decision.verdict.state, decision.verdict.reason, decision.look_again) == ("Stalled", "JobRefused", 2.0)
    fresh = decide(look(replace(given_up, attempts={}), jobs=(job("plan", "running"),)), NOW)
    assert (fresh.verdict.state, fresh.verdict.reason) == ("Reconciling", "Planning")
    assert fresh.verdict.message == "Asking the image what it would change: Job app-plan."
