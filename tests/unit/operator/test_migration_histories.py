"""Properties of deciding: over random histories of the small world, and over observations that make no sense at all."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import (
    Approval,
    CreateJob,
    Decision,
    DeleteJob,
    Finding,
    GateSeen,
    JobSeen,
    Memory,
    Observed,
    Plan,
    PodSeen,
    Revision,
    Spec,
    Trouble,
    WorkloadSeen,
)
from slipway_operator.migrations.pods import LAG
from unit.operator.exploration.explorer import beginning, broken, is_end
from unit.operator.exploration.moves import Operator, moves
from unit.operator.exploration.world import World

NOW = 10_000.0
LONGEST = 4_000
"""Steps within which a history without further disturbances must have ended."""

approvals = st.sampled_from(cast("list[Approval]", ["Never", "Destructive", "Always"]))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), approvals, st.sampled_from([None, "nightly"]), st.integers(0, 12), st.integers(0, 400))
def test_in_no_history_a_contract_breaks_a_pod_or_two_jobs_run_and_each_comes_to_an_end(
    seed: int, approval: Approval, backup: str | None, disturbances: int, length: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a history, no secret
    operator = Operator(decide_twice, approval, backup)
    world = beginning(disturbances)
    for _ in range(length):
        world = next_world(world, operator, chance)
    world = world._replace(left=0)
    for _ in range(LONGEST):
        if is_end(world, operator) or is_given_up(world, operator):
            return
        world = next_world(world, operator, chance)
    raise AssertionError(f"no end within {LONGEST} steps: {world}")


def next_world(world: World, operator: Operator, chance: random.Random) -> World:
    _, world = chance.choice(list(moves(world, operator)))
    assert broken(world, operator) is None
    return world


def is_given_up(world: World, operator: Operator) -> bool:
    """Stalled after as many failures as are allowed, which is an end too."""
    _, effect, decision = operator.look(world, world.pods)
    return world.step.at == "idle" and effect is None and decision.verdict.state == "Stalled"


def decide_twice(observed: Observed, now: float) -> Decision:
    """The same observation gives the same decision, and with its memory written there is nothing more to take in."""
    decision = decide(observed, now)
    assert decide(observed, now) == decision
    written = decide(replace(observed, memory=decision.memory), now)
    assert written.memory == decision.memory
    # Knowing of the announcement is the one thing that a second look adds.
    if decision.verdict.reason != "Announced":
        assert written == decision
    return decision


ids = st.sampled_from(["r1", "r2", "r3", "r4"])
images = st.sampled_from(["app:0", "app:1"])
image_ids = st.sampled_from(["id0", "id1"])
keys = st.sampled_from(["", "k", "k.1", "k.2", "x.1", "x.9"])
purposes = st.sampled_from(["plan", "withdraw", "expand", "backup", "announce", "contract"])
times = st.floats(0, 2 * NOW)
troubles = st.builds(
    Trouble, st.sampled_from(["PlanChanged", "AnnouncementGone", "Other"]), st.just("Text."), st.booleans()
)
plans = st.builds(
    Plan,
    digest=st.sampled_from(["sha256:a", "sha256:b"]),
    current=st.sampled_from(["", "r0"]),
    target=ids,
    revisions=st.lists(
        st.builds(Revision, ids, st.sampled_from(["expand", "contract"]), announced=st.booleans()), max_size=4
    ).map(tuple),
    foreign=st.lists(ids, max_size=1).map(tuple),
    findings=st.lists(st.builds(Finding, ids, st.sampled_from(["Warning", "Error"])), max_size=2).map(tuple),
    partial=st.booleans(),
)
memories = st.builds(
    Memory,
    plan_key=keys,
    plan=st.none() | plans,
    image_id=st.just("") | image_ids,
    done=st.frozensets(purposes),
    attempts=st.dictionaries(purposes, st.integers(0, 30)),
    announced_at=st.none() | times,
    failure=st.none() | troubles,
    failed_at=st.none() | times,
)
jobs = st.builds(
    JobSeen,
    name=st.sampled_from(["a", "b", "c"]),
    purpose=purposes,
    plan_key=keys,
    attempt=st.integers(0, 30),
    state=st.sampled_from(["starting", "running", "succeeded", "failed"]),
    created=times,
    ended=st.none() | times,
    trouble=st.none() | troubles,
    image_id=st.none() | image_ids,
    plan=st.none() | plans,
)
gates = st.builds(GateSeen, st.sampled_from(["waiting", "running", "passed"]), times)
observations = st.builds(
    Observed,
    name=st.just("app"),
    uid=st.just("u"),
    spec=st.builds(
        Spec,
        image=images,
        workload=st.just("app"),
        container=st.just("app"),
        consumers=st.just("app=app"),
        secret_name=st.just("owner"),
        plan_key=st.sampled_from(["k", "x"]),
        approval=approvals,
        approve=st.sampled_from([None, "sha256:a"]),
        fail_on=st.sampled_from(["Never", "Error", "Warning"]),
        retries=st.integers(0, 20),
        backup=st.sampled_from([None, "nightly"]),
        history_limit=st.integers(0, 3),
        suspend=st.booleans(),
    ),
    memory=memories,
    workload=st.none() | st.builds(WorkloadSeen, st.integers(0, 3), st.none() | images, st.booleans()),
    pods=st.lists(st.builds(PodSeen, ids, st.frozensets(image_ids), gates), max_size=4).map(tuple),
    jobs=st.lists(jobs, max_size=3).map(tuple),
    spec_fault=st.none() | st.just("Text."),
)


@settings(max_examples=1_500, deadline=None)
@given(observations)
def test_whatever_is_observed_the_evidence_for_what_is_done_is_in_that_very_look(seen: Observed) -> None:
    decision = decide_twice(seen, NOW)
    effect = decision.effect
    active = [job for job in seen.jobs if job.active]
    if isinstance(effect, DeleteJob):
        assert any(job.name == effect.name and job.state == "starting" for job in active)
    if not isinstance(effect, CreateJob):
        return
    assert not active
    assert not seen.spec.suspend
    assert seen.workload is not None
    assert effect.purpose == "plan" or effect.purpose not in decision.memory.done
    assert effect.purpose != "plan" or decision.memory.plan is None
    if effect.purpose in ("backup", "announce", "contract"):
        assert all(evidence(decision, pod) for pod in seen.pods)
        assert seen.pods or not seen.workload.wanted
        assert seen.spec.approval == "Never" or seen.spec.approve == (decision.memory.plan or plan_of_none()).digest
    if effect.purpose == "contract":
        assert "announce" in seen.memory.done
        assert seen.spec.backup is None or "backup" in decision.memory.done


def evidence(decision: Decision, pod: PodSeen) -> bool:
    """Whether a contract can't break this pod: it has the image, or it looks at the ledger after the announcement."""
    announced_at = decision.memory.announced_at
    if decision.memory.image_id in pod.image_ids:
        return True
    if announced_at is None or pod.gate.state == "passed":
        return False
    return (pod.gate.since if pod.gate.state == "running" else NOW) >= announced_at + LAG


def plan_of_none() -> Plan:
    return Plan("nothing was planned", "", "")
