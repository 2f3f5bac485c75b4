"""Every reason that a SchemaMigration can have, and what is done with it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import (
    Contracted,
    CreateJob,
    DeleteJob,
    Finding,
    GateSeen,
    JobSeen,
    Memory,
    Observed,
    Plan,
    PodSeen,
    Revision,
    Run,
    Spec,
    Trouble,
    Verdict,
    WorkloadSeen,
)

NOW = 1_000_000.0
KEY = "k.1"
E1, C2, E3 = Revision("e1", "expand"), Revision("c2", "contract"), Revision("e3", "expand")
SPEC = Spec("app:1", "app", "app", "app=app", "owner", "k")
BOTH = Plan("sha256:d", "e0", "c2", (E1, C2))
OLD = PodSeen("old", frozenset({"id0"}), GateSeen("passed"))
NEW = tuple(PodSeen(f"new-{number}", frozenset({"id1"}), GateSeen("passed")) for number in range(2))
COMPLETE = WorkloadSeen(2, "app:1", rolled_out=True)
ROLLING = WorkloadSeen(2, "app:1", rolled_out=False)
PLANNED = Memory(KEY, BOTH, "id1", "e0", frozenset({"plan"}))
EXPANDED = replace(PLANNED, revision="e1", done=frozenset({"plan", "expand"}))
ANNOUNCED = replace(EXPANDED, done=EXPANDED.done | {"announce"}, announced_at=NOW - 100)
MOVED = Trouble("PlanChanged", "Revision e1 has other SQL.")


def look(
    memory: Memory = PLANNED,
    *,
    spec: dict[str, Any] | None = None,
    workload: WorkloadSeen | None = COMPLETE,
    **seen: Any,
) -> Observed:
    return Observed("app", "u", replace(SPEC, **spec or {}), memory, workload, **{"pods": NEW, **seen})


def job(purpose: Any, state: Any, **values: Any) -> JobSeen:
    ended = NOW - 1000 if state in ("succeeded", "failed") else None
    return JobSeen(**{"name": f"app-{purpose}", "purpose": purpose, "plan_key": KEY, "attempt": 0, "state": state,
                      "created": NOW - 1060, "ended": ended, **values})  # fmt: skip


def partly(plan: Plan = BOTH, **values: Any) -> Memory:
    return replace(PLANNED, plan=replace(plan, **values))


WARNED = partly(findings=(Finding("ban-drop-column", "Warning"),))
OBJECTED = partly(findings=(Finding("ban-drop-column", "Error"),))
STRANDED = partly(revisions=(E1, C2, E3), target="e3")
EMPTY = partly(current="", revisions=(E1, C2, E3))
FAILED = replace(PLANNED, attempts={"expand": 1}, failure=Trouble("LockNotAvailable", "No lock."), failed_at=NOW - 1)
LASTING = replace(FAILED, failure=Trouble("RoleUnfit", "No right.", lasting=True))
UNPLANNED = Memory(KEY, attempts={"plan": 1}, failure=Trouble("MultipleHeads", "Two.", lasting=True), failed_at=NOW - 1)
APPROVED = {"approval": "Always", "approve": "sha256:d"}

CASES = {
    "a spec that can't be followed": (look(spec_fault="No."), "Stalled", "SpecInvalid", None),
    "nothing planned yet": (look(Memory()), "Reconciling", "Planning", "plan"),
    "a plan that runs": (look(Memory(KEY), jobs=(job("plan", "running"),)), "Reconciling", "Planning", None),
    "a Job that doesn't start": (
        look(jobs=(job("expand", "starting", trouble=Trouble("ImagePullBackOff", "No such image.")),)),
        "Reconciling", "ImagePullBackOff", None),
    "a Job that never will": (
        look(jobs=(job("expand", "starting", trouble=Trouble("JobRefused", "By policy.", lasting=True)),)),
        "Stalled", "JobRefused", None),
    "a Job that waits": (
        look(jobs=(job("expand", "running", trouble=Trouble("WaitingForLock", "pid 7.")),)),
        "Reconciling", "WaitingForLock", None),
    "a running Job of another wish": (
        look(spec={"plan_key": "other"}, jobs=(job("expand", "running"),)), "Reconciling", "EarlierRunActive", None),
    "a running Job, and a status that was lost": (
        look(Memory(), jobs=(job("expand", "running"),)), "Reconciling", "EarlierRunActive", None),
    "suspended": (look(spec={"suspend": True}), "Suspended", "Suspended", None),
    "no workload": (look(workload=None), "Reconciling", "WorkloadMissing", None),
    "no such container": (look(workload=WorkloadSeen(2, None, rolled_out=True)), "Stalled", "ContainerMissing", None),
    "a plan that failed for good": (look(UNPLANNED), "Stalled", "MultipleHeads", None),
    "the same five minutes later": (look(replace(UNPLANNED, failed_at=NOW - 301)), "Stalled", "MultipleHeads", "plan"),
    "while that is planned again": (
        look(UNPLANNED, jobs=(job("plan", "running", attempt=1),)), "Stalled", "MultipleHeads", None),
    "a plan that can't be read": (
        look(Memory(KEY), jobs=(job("plan", "succeeded", ended=NOW - 1),)), "Reconciling", "PlanUnreadable", None),
    "what another image announced": (
        look(partly(revisions=(), foreign=("c9",))), "Reconciling", "Withdrawing", "withdraw"),
    "the same, withdrawn": (
        look(replace(partly(revisions=(), foreign=("c9",)), done=frozenset({"plan", "withdraw"}))),
        "Ready", "UpToDate", None),
    "nothing pending, whatever the rollout does": (
        look(partly(revisions=()), workload=ROLLING, pods=(OLD,)), "Ready", "UpToDate", None),
    "an error found": (look(OBJECTED), "Stalled", "LintFailed", None),
    "an error found that is ignored": (
        look(OBJECTED, spec={"ignore": frozenset({"ban-drop-column"})}), "Reconciling", "Expanding", "expand"),
    "an error found, and failOn Never": (
        look(OBJECTED, spec={"fail_on": "Never"}), "Reconciling", "Expanding", "expand"),
    "a warning found": (look(WARNED), "Reconciling", "Expanding", "expand"),
    "a warning found, and failOn Warning": (look(WARNED, spec={"fail_on": "Warning"}), "Stalled", "LintFailed", None),
    "an error found where people approve": (
        look(OBJECTED, spec={"approval": "Destructive"}), "Reconciling", "AwaitingApproval", None),
    "a partial plan where people approve": (
        look(partly(partial=True), spec={"approval": "Destructive"}), "Reconciling", "AwaitingApproval", None),
    "a partial plan": (look(partly(partial=True)), "Reconciling", "Expanding", "expand"),
    "every plan is approved": (look(spec={"approval": "Always"}), "Reconciling", "AwaitingApproval", None),
    "another plan is approved": (
        look(spec={"approval": "Always", "approve": "sha256:e"}), "Reconciling", "AwaitingApproval", None),
    "this plan is approved": (look(spec=APPROVED), "Reconciling", "Expanding", "expand"),
    "destructive ones are approved, and it begins with an expand": (
        look(spec={"approval": "Destructive"}), "Reconciling", "Expanding", "expand"),
    "an expand failed a moment ago": (look(FAILED), "Reconciling", "LockNotAvailable", None),
    "an expand failed a while ago": (look(replace(FAILED, failed_at=NOW - 60)), "Reconciling", "Expanding", "expand"),
    "an expand failed too often": (look(FAILED, spec={"retries": 0}), "Stalled", "LockNotAvailable", None),
    "an expand failed for good": (look(LASTING), "Stalled", "RoleUnfit", None),
    "the rollout is under way": (look(EXPANDED, workload=ROLLING), "Reconciling", "RollingOut", None),
    "the rollout was undone": (
        look(EXPANDED, workload=WorkloadSeen(2, "app:0", rolled_out=True)), "Reconciling", "RollingOut", None),
    "an old pod lives": (look(EXPANDED, pods=(*NEW, OLD)), "Reconciling", "OldPodsRemain", None),
    "pods weren't seen": (look(EXPANDED, pods=()), "Reconciling", "PodsNotSeen", None),
    "a pod is missing": (look(EXPANDED, pods=NEW[:1]), "Reconciling", "PodsNotSeen", None),
    "none is wanted": (
        look(EXPANDED, pods=(), workload=replace(COMPLETE, wanted=0)), "Reconciling", "Announcing", "announce"),
    "a contract that waits for a person": (
        look(EXPANDED, spec={"approval": "Destructive"}), "Ready", "AwaitingApproval", None),
    "a backup first": (look(EXPANDED, spec={"backup": "nightly"}), "Reconciling", "BackingUp", "backup"),
    "every pod is new": (look(EXPANDED), "Reconciling", "Announcing", "announce"),
    "announced in this look": (look(EXPANDED, jobs=(job("announce", "succeeded"),)), "Reconciling", "Announced", None),
    "announced in an earlier look": (look(ANNOUNCED), "Reconciling", "Contracting", "contract"),
    "an old pod got through before the announcement": (
        look(ANNOUNCED, pods=(*NEW, OLD)), "Reconciling", "OldPodsRemain", None),
    "undone after the announcement": (look(ANNOUNCED, workload=ROLLING), "Reconciling", "RollingOut", None),
    "a release was skipped": (look(STRANDED, pods=(OLD,), workload=ROLLING), "Stalled", "ReleaseSkipped", None),
    "the same, and no old pod lives": (look(STRANDED, workload=ROLLING), "Reconciling", "Announcing", "announce"),
    "the same, and no pod was seen": (look(STRANDED, pods=(), workload=ROLLING), "Reconciling", "PodsNotSeen", None),
    "the same, and a person must approve": (
        look(STRANDED, workload=ROLLING, spec={"approval": "Destructive"}), "Reconciling", "AwaitingApproval", None),
    "the same, announced": (
        look(replace(STRANDED, done=ANNOUNCED.done - {"expand"}, announced_at=NOW - 100), workload=ROLLING),
        "Reconciling", "Contracting", "contract"),
    "an empty database": (look(EMPTY, pods=(OLD,)), "Reconciling", "Expanding", "expand"),
    "an empty database, and destructive plans are approved": (
        look(EMPTY, spec={"approval": "Destructive"}), "Reconciling", "Expanding", "expand"),
    "an empty database that was brought up": (
        look(EMPTY, jobs=(job("expand", "succeeded"),)), "Ready", "UpToDate", None),
    "all done": (look(ANNOUNCED, jobs=(job("contract", "succeeded"),)), "Ready", "UpToDate", None),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "state", "reason", "makes"), CASES.values(), ids=CASES)
def test_the_reason_and_the_job_to_make(seen: Observed, state: str, reason: str, makes: str | None) -> None:
    decision = decide(seen, NOW)
    verdict = decision.verdict
    assert (verdict.state, verdict.reason) == (state, reason)
    assert (decision.effect.purpose if isinstance(decision.effect, CreateJob) else None) == makes
    assert verdict.message.endswith(".")
    assert decide(replace(seen, memory=decision.memory), NOW) == decision or reason == "Announced"


def test_a_job_of_another_wish_that_never_began_is_removed() -> None:
    decision = decide(look(spec={"plan_key": "other"}, jobs=(job("expand", "starting"),)), NOW)
    assert (decision.effect, decision.verdict.reason) == (DeleteJob("app-expand"), "EarlierRunActive")


def test_a_wish_that_comes_back_is_planned_anew_and_jobs_of_its_first_life_prove_nothing() -> None:
    first = (job("plan", "succeeded", plan=BOTH, image_id="id1"), job("announce", "succeeded"))
    decision = decide(look(replace(ANNOUNCED, plan_key="other.2"), jobs=first), NOW)
    assert decision.memory == Memory("k.3", revision="e1")
    assert decision.effect == CreateJob("plan", 0)


@pytest.mark.parametrize(("purpose", "begins_anew"), [("announce", True), ("expand", True), ("backup", False)])
def test_what_a_job_that_came_late_leaves_is_in_the_next_plan(purpose: str, *, begins_anew: bool) -> None:
    """An announcement made after the withdrawal would keep this image's pods from starting, and nobody would know."""
    withdrawn = replace(partly(revisions=()), done=frozenset({"plan", "withdraw"}))
    late = job(purpose, "running", plan_key="other.1")
    decision = decide(look(withdrawn, jobs=(late,)), NOW)
    assert (decision.verdict.reason, decision.effect) == ("EarlierRunActive", None)
    assert (decision.memory.plan is None) == begins_anew
    after = decide(look(decision.memory, jobs=(replace(late, state="succeeded", ended=NOW),)), NOW)
    assert (after.effect == CreateJob("plan", 0)) == begins_anew


def test_a_contract_whose_announcement_was_withdrawn_begins_with_another_plan_and_is_announced_anew() -> None:
    """Tried again in this round it would be refused each time: the announcement counts as done there."""
    gone = Trouble("AnnouncementGone", "Contract c1 isn't announced any more.")
    decision = decide(look(ANNOUNCED, jobs=(job("contract", "failed", trouble=gone),)), NOW)
    assert (decision.memory.plan_key, decision.memory.plan, decision.memory.done) == ("k.2", None, frozenset())
    assert (decision.memory.attempts, decision.effect) == ({"contract": 1}, CreateJob("plan", 0))


def test_a_changed_plan_is_planned_again_and_its_tries_are_counted_on() -> None:
    decision = decide(look(jobs=(job("expand", "failed", trouble=MOVED),)), NOW)
    assert (decision.memory.plan_key, decision.memory.plan, decision.memory.attempts) == ("k.2", None, {"expand": 1})
    assert decision.effect == CreateJob("plan", 0)
    planned = job("plan", "succeeded", plan_key="k.2", plan=BOTH, image_id="id1")
    again = decide(look(decision.memory, jobs=(planned,)), NOW)
    assert again.effect == CreateJob("expand", 1)
    assert again.memory.failure is not None
    assert again.memory.failed_at == NOW - 1000
    soon = decide(look(replace(again.memory, failed_at=NOW), jobs=(planned,)), NOW)
    assert (soon.verdict.reason, soon.effect) == ("PlanChanged", None)
    given_up = decide(look(decision.memory, jobs=(planned,), spec={"retries": 0}), NOW)
    assert (given_up.verdict.state, given_up.verdict.reason) == ("Stalled", "PlanChanged")


@pytest.mark.parametrize("memory", [LASTING, replace(FAILED, attempts={"expand": 9})])
def test_what_was_given_up_is_tried_once_more_when_its_job_would_be_made_otherwise(memory: Memory) -> None:
    memory = replace(memory, ended="app-expand")
    failed = job("expand", "failed", attempt=memory.attempts["expand"] - 1)
    stalled = decide(look(memory, jobs=(failed,)), NOW)
    assert (stalled.verdict.state, stalled.effect, stalled.look_again) == ("Stalled", None, 300.0)
    mended = decide(look(memory, jobs=(replace(failed, outdated=True),)), NOW)
    assert (mended.verdict.state, mended.effect) == ("Reconciling", CreateJob("expand", memory.attempts["expand"]))
    again = job("expand", "failed", name="app-expand-2", attempt=memory.attempts["expand"], trouble=memory.failure)
    jobs = (replace(failed, outdated=True), again)
    assert decide(look(memory, jobs=jobs), NOW).verdict.state == "Stalled"


def test_a_plan_that_was_given_up_and_is_mended_is_under_way_again() -> None:
    memory = replace(UNPLANNED, ended="app-plan")
    jobs = (job("plan", "failed", outdated=True), job("plan", "running", name="app-plan-2", attempt=1))
    assert decide(look(memory, jobs=jobs), NOW).verdict.state == "Reconciling"


def test_an_ended_job_is_taken_in_once_with_where_it_came_from_and_got_to() -> None:
    decision = decide(look(jobs=(job("expand", "succeeded"),)), NOW)
    assert decision.memory.revision == "e1"
    assert decision.memory.history == (Run("e1", "app:1", NOW - 1060, 60.0, "Succeeded", "e0"),)
    assert decide(look(decision.memory, jobs=(job("expand", "succeeded"),)), NOW).memory == decision.memory


def test_a_workload_that_may_come_in_a_moment_is_soon_looked_for_and_an_absent_one_seldom() -> None:
    absent = look(workload=None)
    assert decide(replace(absent, created=NOW - 119), NOW).look_again == 2.0
    assert decide(replace(absent, created=NOW - 120), NOW).look_again == 30.0


def test_a_run_that_failed_for_a_wish_of_before_is_superseded() -> None:
    decision = decide(look(spec={"plan_key": "other"}, jobs=(job("expand", "failed"),)), NOW)
    assert [run.result for run in decision.memory.history] == ["Superseded"]


def test_history_is_cut_to_its_limit_newest_first() -> None:
    past = tuple(Run(str(number), "app:0", 0.0, 1.0, "Succeeded") for number in range(3))
    seen = look(replace(PLANNED, history=past), spec={"history_limit": 2}, jobs=(job("expand", "succeeded"),))
    assert [run.to for run in decide(seen, NOW).memory.history] == ["e1", "0"]


def test_pods_in_the_way_are_named_five_at_most() -> None:
    pods = tuple(replace(OLD, name=f"old-{number}") for number in range(7))
    assert "old-0, old-1, old-2, old-3, old-4 and 2 more;" in decide(look(EXPANDED, pods=pods), NOW).verdict.message


@pytest.mark.parametrize(
    ("gate", "counts"),
    [
        (GateSeen("passed"), True),
        (GateSeen("running", NOW - 101), True),
        (GateSeen("running", NOW - 95), True),  # within what clocks may differ by
        (GateSeen("running", NOW - 80), False),
        (GateSeen("running", NOW), False),
        (GateSeen("running", NOW + 0.5), True),  # a node whose clock is ahead: when it began isn't known
        (GateSeen("waiting"), False),
    ],
)
def test_after_the_announcement_a_gate_counts_if_it_may_have_read_the_ledger_before(
    gate: GateSeen, *, counts: bool
) -> None:
    decision = decide(look(ANNOUNCED, pods=(*NEW, replace(OLD, gate=gate))), NOW)
    assert (decision.verdict.reason == "OldPodsRemain") is counts


def test_a_gate_said_to_wait_counts_until_late_reports_must_have_come() -> None:
    seen = look(replace(ANNOUNCED, announced_at=NOW), pods=(*NEW, replace(OLD, gate=GateSeen("waiting"))))
    assert decide(seen, NOW + 9).verdict.reason == "OldPodsRemain"
    assert decide(seen, NOW + 10).verdict.reason == "Contracting"


def test_an_announcement_that_another_clock_noted_is_as_old_as_the_look_that_finds_it() -> None:
    pods = (*NEW, replace(OLD, gate=GateSeen("running", NOW - 80)))
    found = decide(replace(look(ANNOUNCED, pods=pods), anew=True), NOW)
    assert (found.verdict.reason, found.memory.announced_at) == ("OldPodsRemain", NOW)


def test_a_failure_that_another_clock_noted_as_yet_to_come_is_tried_again_after_its_pause() -> None:
    found = decide(look(replace(FAILED, failed_at=NOW + 3600)), NOW)
    assert found.effect is None
    assert found.look_again is not None
    assert found.look_again <= 5


def test_a_pod_whose_image_ids_arent_known_counts_as_broken() -> None:
    pods = (*NEW, replace(OLD, image_ids=frozenset()))
    assert decide(look(EXPANDED, pods=pods), NOW).verdict.reason == "OldPodsRemain"


def test_rolling_back_is_unsafe_from_the_first_try_to_announce() -> None:
    def unsafe(memory: Memory, *jobs: JobSeen) -> bool:
        return bool(decide(look(memory, jobs=jobs), NOW).verdict.rollback_unsafe)

    assert not unsafe(EXPANDED)
    assert unsafe(EXPANDED, job("announce", "running"))
    assert unsafe(replace(EXPANDED, attempts={"announce": 1}, failed_at=NOW))
    assert unsafe(ANNOUNCED)
    assert unsafe(ANNOUNCED, job("contract", "succeeded"))
    assert not unsafe(partly(current=""))


def test_rolling_back_stays_unsafe_after_a_new_plan_of_the_image_whose_contract_ran() -> None:
    nothing_left = job("plan", "succeeded", plan_key="replan.2", plan=Plan("sha256:n", "c2", "c2"), image_id="id1")

    def told(image: str) -> Verdict:
        done = decide(look(ANNOUNCED, jobs=(job("contract", "succeeded"),)), NOW).memory
        wish = {"plan_key": "replan", "image": image}
        planning = decide(look(done, spec=wish), NOW)
        return decide(look(planning.memory, spec=wish, jobs=(nothing_left,)), NOW).verdict

    again = told("app:1")
    assert (again.reason, again.rollback_reason) == ("UpToDate", "ContractApplied")
    assert again.rollback_unsafe.startswith("Contract c2 is applied")
    assert told("app:2").rollback_unsafe == ""


def test_a_contract_that_a_restore_took_back_breaks_nobody_any_more() -> None:
    done = decide(look(ANNOUNCED, jobs=(job("contract", "succeeded"),)), NOW).memory
    planning = decide(look(done, spec={"plan_key": "replan"}), NOW).memory
    restored = job("plan", "succeeded", plan_key="replan.2", plan=BOTH, image_id="id1")
    assert decide(look(planning, spec={"plan_key": "replan"}, jobs=(restored,)), NOW).verdict.rollback_unsafe == ""


def test_what_was_announced_is_no_evidence_after_a_pause_in_which_it_may_be_taken_back() -> None:
    known = replace(ANNOUNCED, contracted=Contracted("app:1", ("c2",)))
    paused = decide(look(known, spec={"suspend": True}), NOW)
    assert (paused.verdict.reason, paused.effect) == ("Suspended", None)
    assert paused.verdict.rollback_reason == "ContractAnnounced"
    assert "announced" in paused.verdict.rollback_unsafe
    assert decide(look(paused.memory, spec={"suspend": True}), NOW).memory == paused.memory
    resumed = decide(look(paused.memory, jobs=(job("announce", "succeeded"),)), NOW)
    assert resumed.effect == CreateJob("plan", 0)
    planned = job(
        "plan", "succeeded", plan_key="k.2", plan=replace(BOTH, current="e1", revisions=(C2,)), image_id="id1"
    )
    assert decide(look(resumed.memory, jobs=(planned,)), NOW).effect == CreateJob("announce", 0)


def test_a_contract_that_waits_says_so_beside_being_ready() -> None:
    verdict = decide(look(EXPANDED, spec={"approval": "Destructive"}), NOW).verdict
    assert verdict.pending == (C2,)
    assert "sha256:d" in verdict.contract_pending
    assert decide(look(ANNOUNCED, jobs=(job("contract", "succeeded"),)), NOW).verdict.contract_pending == ""


def test_a_partial_plan_says_why_it_waits() -> None:
    assert "PlanPartial" in decide(look(partly(partial=True), spec={"approval": "Always"}), NOW).verdict.message


def test_deciding_needs_neither_kopf_nor_a_client() -> None:
    code = "import sys, slipway_operator.migrations.decide; print({'kopf', 'aiohttp', 'asyncio'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
