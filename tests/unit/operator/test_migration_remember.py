"""What ended Jobs leave in the memory, each once, and when all but what outlives a plan is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.migrations.model import Contracted, JobSeen, Memory, Plan, Run, Trouble
from slipway_operator.migrations.remember import active_jobs, held_back, pending, remember, unrecorded
from unit.operator.test_migration_decide import (
    ANNOUNCED,
    BOTH,
    C2,
    E1,
    E3,
    EXPANDED,
    KEY,
    MOVED,
    NOW,
    PLANNED,
    job,
    look,
    partly,
)

NO_LOCK = Trouble("LockNotAvailable", "No lock.")
APPLIED = Contracted("app:1", ("c0", "c2"), applied=True)


def remembered(memory: Memory, *jobs: JobSeen, **seen: Any) -> Memory:
    return remember(look(memory, jobs=jobs, **seen), NOW)


def test_a_plan_is_taken_in_with_the_image_that_made_it_and_the_revision_that_it_saw() -> None:
    found = remembered(Memory(KEY), job("plan", "succeeded", plan=BOTH, image_id="id1"))
    assert (found.plan, found.image_id, found.revision, found.done) == (BOTH, "id1", "e0", {"plan"})
    assert (found.ended, found.attempts, found.failure, found.history) == ("app-plan", {}, None, ())


@pytest.mark.parametrize("lacks", [{"plan": None, "image_id": "id1"}, {"plan": BOTH, "image_id": None}])
def test_a_plan_without_content_or_image_has_failed(lacks: dict[str, Any]) -> None:
    found = remembered(Memory(KEY), job("plan", "succeeded", **lacks))
    assert (found.plan, found.attempts, found.failed_at) == (None, {"plan": 1}, NOW - 1000)
    assert found.failure is not None
    assert found.failure.reason == "PlanUnreadable"


def test_an_expand_brings_what_comes_before_the_first_contract() -> None:
    found = remembered(PLANNED, job("expand", "succeeded"))
    assert (found.revision, found.done) == ("e1", {"plan", "expand"})
    assert found.history == (Run("e1", "app:1", NOW - 1060, 60.0, "Succeeded", "e0"),)
    assert found.contracted is None


def test_a_run_that_failed_is_counted_from_its_own_number_and_told() -> None:
    found = remembered(PLANNED, job("expand", "failed", attempt=2, trouble=NO_LOCK))
    assert (found.attempts, found.failure, found.failed_at) == ({"expand": 3}, NO_LOCK, NOW - 1000)
    assert (found.revision, found.done) == ("e0", {"plan"})
    assert found.history == (Run("e1", "app:1", NOW - 1060, 60.0, "Failed", "e0"),)
    untold = remembered(PLANNED, job("expand", "failed", ended=None)).failure
    assert untold == Trouble("JobFailed", "Job app-expand failed; its log says why.")


def test_a_run_whose_end_nobody_tells_took_no_time_and_failed_just_now() -> None:
    found = remembered(PLANNED, job("expand", "failed", ended=None, trouble=NO_LOCK))
    assert (found.failed_at, found.history[0].took) == (NOW, 0.0)
    back = remembered(PLANNED, job("expand", "failed", ended=NOW - 2000, trouble=NO_LOCK))
    assert back.history[0].took == 0.0


@pytest.mark.parametrize(
    ("memory", "of"),
    [
        (EXPANDED, job("expand", "succeeded")),
        (PLANNED, job("plan", "succeeded", plan=replace(BOTH, current="e9"), image_id="id9")),
        (PLANNED, job("expand", "succeeded", plan_key="k.0")),
        (PLANNED, job("expand", "running")),
        (replace(PLANNED, attempts={"expand": 2}), job("expand", "failed", attempt=1, trouble=NO_LOCK)),
    ],
)
def test_what_is_known_is_of_another_round_or_runs_is_not_taken_in(memory: Memory, of: JobSeen) -> None:
    assert not unrecorded(of, memory)
    found = remembered(memory, of)
    assert (found.done, found.attempts, found.history, found.ended) == (memory.done, memory.attempts, (), "")


def test_the_try_after_the_last_one_that_failed_is_taken_in() -> None:
    assert unrecorded(job("expand", "failed", attempt=2), replace(PLANNED, attempts={"expand": 2}))


def test_jobs_are_taken_in_as_they_ended_and_those_of_one_moment_by_name() -> None:
    late, soon = (
        job("expand", "failed", name="a", ended=NOW - 5),
        job("expand", "failed", name="b", ended=NOW - 9, attempt=1),
    )
    assert remembered(PLANNED, late, soon).ended == "b"  # the later one is the earlier try, and comes too late
    both = [job("backup", "succeeded", name=name, ended=NOW - 9) for name in ("y", "x")]
    assert remembered(PLANNED, *both).ended == "x"


@pytest.mark.parametrize(("limit", "kept"), [(1, 1), (2, 2), (3, 3)])
def test_a_history_is_as_long_as_it_is_wished_for_newest_first(limit: int, kept: int) -> None:
    runs = tuple(Run(f"r{n}", "app:0", 1.0, 1.0, "Succeeded") for n in range(2))
    found = remembered(replace(PLANNED, history=runs), job("expand", "succeeded"), spec={"history_limit": limit})
    assert [run.to for run in found.history] == ["e1", "r0", "r1"][:kept]


@pytest.mark.parametrize("reason", ["PlanChanged", "AnnouncementGone"])
def test_a_run_that_found_something_else_than_planned_begins_a_round_and_keeps_its_count(reason: str) -> None:
    found = remembered(ANNOUNCED, job("contract", "failed", trouble=Trouble(reason, "x")))
    assert (found.plan_key, found.plan, found.done, found.announced_at) == ("k.2", None, set(), None)
    assert (found.attempts, found.failed_at) == ({"contract": 1}, NOW - 1000)
    assert (found.revision, found.ended, len(found.history)) == ("e1", "app-contract", 1)


def test_a_plan_that_succeeds_after_that_leaves_the_count_and_its_pause() -> None:
    waits = Memory("k.2", attempts={"contract": 1}, failure=MOVED, failed_at=NOW - 9)
    found = remembered(waits, job("plan", "succeeded", plan_key="k.2", plan=BOTH, image_id="id1"))
    assert (found.attempts, found.failed_at) == ({"contract": 1}, NOW - 9)
    assert found.failure is not None
    assert found.failure.reason == "PlanChanged"
    second = job("plan", "succeeded", plan_key="k.2", attempt=1, plan=BOTH, image_id="id1")
    assert remembered(replace(waits, attempts={"plan": 1}), second).failure is None


@pytest.mark.parametrize(
    ("late", "begins"),
    [
        (job("announce", "running", plan_key="k.0"), True),
        (job("expand", "running", plan_key="k.0"), True),
        (job("plan", "running", plan_key="k.0"), False),
        (job("backup", "running", plan_key="k.0"), False),
        (job("expand", "starting", plan_key="k.0"), False),
        (job("expand", "running"), False),
    ],
)
def test_an_earlier_round_s_job_that_runs_beside_a_plan_begins_another_round(late: JobSeen, *, begins: bool) -> None:
    assert remembered(PLANNED, late).plan_key == ("k.2" if begins else KEY)
    assert remembered(Memory(KEY), late).plan_key == KEY  # there is no plan yet that lacks what it leaves


def test_another_wish_begins_a_round_without_what_failed_once_nothing_runs() -> None:
    failed = replace(PLANNED, attempts={"expand": 1}, failure=NO_LOCK, failed_at=NOW - 9, ended="j", contracted=APPLIED)
    found = remembered(failed, spec={"plan_key": "other"})
    assert (found.plan_key, found.plan, found.attempts, found.failure, found.failed_at) == (
        "other.2",
        None,
        {},
        None,
        None,
    )
    assert (found.revision, found.ended, found.contracted) == ("e0", "j", APPLIED)
    assert remembered(failed, spec={"plan_key": "other", "image": "app:2"}).contracted is None
    waits = remembered(failed, job("plan", "running"), spec={"plan_key": "other"})
    assert waits == failed


@pytest.mark.parametrize(
    ("memory", "seen", "key"),
    [
        (Memory(), [], "k.1"),
        (Memory(), ["k.3", "other.7"], "k.8"),
        (Memory("other.12"), ["k.3"], "k.13"),
        (Memory("other.x"), ["k."], "k.1"),
        (Memory("0123abc"), [], "k.1"),
    ],
)
def test_a_round_has_a_number_above_all_that_were_seen(memory: Memory, seen: list[str], key: str) -> None:
    jobs = (job("plan", "failed", plan_key=one, trouble=NO_LOCK) for one in seen)
    assert remembered(memory, *jobs).plan_key == key


def test_only_the_digest_of_this_plan_is_approved_and_stays_so() -> None:
    assert remembered(PLANNED, spec={"approve": "sha256:d"}).approved == "sha256:d"
    assert remembered(PLANNED, spec={"approve": "sha256:e"}).approved == ""
    assert remembered(replace(PLANNED, approved="sha256:d")).approved == "sha256:d"
    assert remembered(Memory(KEY), spec={"approve": "sha256:d"}).approved == ""


def test_what_was_announced_is_no_evidence_after_a_suspension_if_a_contract_is_left() -> None:
    assert remembered(ANNOUNCED, spec={"suspend": True}).plan_key == "k.2"
    assert remembered(EXPANDED, spec={"suspend": True}).plan_key == KEY
    through = replace(ANNOUNCED, done=ANNOUNCED.done | {"contract"})
    assert remembered(through, spec={"suspend": True}).plan_key == KEY


def test_an_announcement_counts_from_when_it_was_seen_to_have_ended_and_anew_by_another_clock() -> None:
    found = remembered(EXPANDED, job("announce", "succeeded"))
    assert (found.announced_at, found.revision) == (NOW, "e1")
    assert found.contracted == Contracted("app:1", ("c2",), applied=False)
    assert remembered(ANNOUNCED).announced_at == NOW - 100
    assert remember(replace(look(ANNOUNCED), anew=True), NOW).announced_at == NOW
    assert remember(replace(look(EXPANDED), anew=True), NOW).announced_at is None


def test_contracts_that_ran_are_remembered_beside_those_that_ran_before() -> None:
    ran = remembered(ANNOUNCED, job("contract", "succeeded"))
    assert (ran.contracted, ran.revision, ran.announced_at) == (
        Contracted("app:1", ("c2",), applied=True),
        "c2",
        NOW - 100,
    )
    more = remembered(
        replace(ANNOUNCED, contracted=Contracted("app:1", ("c0", "c2"), applied=True)), job("contract", "succeeded")
    )
    assert more.contracted == APPLIED
    only_announced = Contracted("app:1", ("c9",), applied=False)
    assert remembered(
        replace(EXPANDED, contracted=only_announced), job("announce", "succeeded")
    ).contracted == Contracted("app:1", ("c2",), applied=False)
    before = Contracted("app:1", ("c0",), applied=True)
    assert remembered(replace(EXPANDED, contracted=before), job("announce", "succeeded")).contracted == APPLIED
    assert remembered(replace(PLANNED, contracted=before), job("expand", "succeeded")).contracted == before


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        (Contracted("app:1", ("c0", "c2"), applied=True), Contracted("app:1", ("c0",), applied=True)),
        (Contracted("app:1", ("c2",), applied=True), None),
        (Contracted("app:1", ("c0",), applied=False), None),
        (None, None),
    ],
)
def test_a_plan_tells_which_contracts_a_restored_database_has_not_seen(
    known: Contracted | None, kept: Contracted | None
) -> None:
    found = remembered(Memory(KEY, contracted=known), job("plan", "succeeded", plan=BOTH, image_id="id1"))
    assert found.contracted == kept


def test_a_run_of_an_earlier_wish_is_told_by_its_image_and_superseded_if_it_failed() -> None:
    for state, result in (("failed", "Superseded"), ("succeeded", "Succeeded")):
        found = remembered(PLANNED, job("expand", state, trouble=NO_LOCK), spec={"plan_key": "other"})
        assert (found.history[0].result, found.history[0].image, found.plan_key) == (result, "id1", "other.2")


def test_what_is_pending_goes_with_what_was_done() -> None:
    assert pending(Memory(KEY)) == ()
    assert pending(PLANNED) == (E1, C2)
    assert pending(EXPANDED) == (C2,)
    assert pending(replace(ANNOUNCED, done=ANNOUNCED.done | {"contract"})) == ()


def test_an_expand_leaves_from_the_first_contract_on_but_on_an_empty_database_nothing() -> None:
    assert held_back(BOTH) == (C2,)
    assert held_back(Plan("d", "e0", "e3", (E1, C2, E3))) == (C2, E3)
    assert held_back(Plan("d", "e0", "e3", (E1, E3))) == ()
    assert held_back(Plan("d", "", "c2", (E1, C2))) == ()
    empty = partly(current="")
    assert remembered(empty, job("expand", "succeeded")).revision == "c2"
    only = partly(revisions=(C2,))
    assert remembered(only, job("expand", "succeeded")).revision == "e0"


def test_jobs_that_run_are_told_oldest_first() -> None:
    jobs = (
        job("plan", "running", name="b", created=2.0),
        job("plan", "starting", name="a", created=2.0),
        job("expand", "running", name="c", created=1.0),
        job("expand", "failed", name="d", created=0.0),
    )
    assert [one.name for one in active_jobs(look(jobs=jobs))] == ["c", "a", "b"]
