"""How long is waited for what, and what goes on while a resource is suspended."""

from __future__ import annotations

from dataclasses import replace

from slipway_operator.migrations.decide import decide
from unit.operator.test_migration_decide import (
    ANNOUNCED,
    EXPANDED,
    FAILED,
    KEY,
    NOW,
    ROLLING,
    job,
    look,
    partly,
)


def test_a_job_that_ends_while_suspended_is_taken_in_and_nothing_is_started() -> None:
    decision = decide(look(spec={"suspend": True}, jobs=(job("expand", "failed"),)), NOW)
    assert decision.memory.attempts == {"expand": 1}
    assert decision.memory.history[0].result == "Failed"
    assert decision.effect is None


def test_what_runs_while_it_is_suspended_is_let_end_before_anything_is_forgotten() -> None:
    decision = decide(look(ANNOUNCED, spec={"suspend": True}, jobs=(job("contract", "running"),)), NOW)
    assert decision.memory == ANNOUNCED
    ended = decide(look(ANNOUNCED, spec={"suspend": True}, jobs=(job("contract", "succeeded"),)), NOW)
    assert ended.memory.plan_key == KEY


def test_pauses_grow_differ_between_resources_and_are_the_same_each_time() -> None:
    def wait(tries: int, uid: str = "u") -> float:
        memory = replace(FAILED, attempts={"expand": tries}, failed_at=NOW)
        decision = decide(replace(look(memory, spec={"retries": 20}), uid=uid), NOW)
        assert decision.look_again is not None
        return decision.look_again

    waits = [wait(tries) for tries in range(1, 12)]
    assert waits == [wait(tries) for tries in range(1, 12)]
    assert all(2.5 * 2**n <= waited <= 5 * 2**n for n, waited in enumerate(waits[:6]))
    assert max(waits) <= 300
    assert len({wait(1, uid) for uid in "abcdefgh"}) == 8


def test_nothing_is_awaited_when_ready_or_when_only_a_person_can_act() -> None:
    assert decide(look(partly(revisions=())), NOW).look_again is None
    assert decide(look(spec={"approval": "Always"}), NOW).look_again is None
    assert decide(look(EXPANDED, workload=ROLLING), NOW).look_again == 2.0
