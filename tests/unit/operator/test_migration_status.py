from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slipway_operator.migrations.model import (
    Contracted,
    Decision,
    Finding,
    JobSeen,
    Memory,
    Plan,
    Revision,
    Run,
    Trouble,
    Verdict,
)
from slipway_operator.migrations.status import document, memory_of

DEFINITION = Path(__file__).parents[3] / "chart" / "crds" / "schemamigrations.slipway.dev.yaml"
NOW = 1_795_000_000.0
PURPOSES: Any = st.sampled_from(["plan", "withdraw", "expand", "backup", "announce", "contract"])
IDS = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
HASHES = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
REASONS = st.from_regex(r"[A-Z][A-Za-z0-9]{0,63}", fullmatch=True)
TEXTS = st.text(max_size=40)
TIMES = (
    st.integers(0, 2**32 * 1_000_000)
    .map(lambda micros: micros / 1_000_000)
    .filter(lambda at: round(at * 1_000_000) / 1_000_000 == at)
)
WHOLE = st.integers(0, 2**32).map(float)

REVISIONS: Any = st.builds(
    Revision, IDS, st.sampled_from(["expand", "contract"]), TEXTS, st.none() | HASHES, st.booleans()
)
FINDINGS: Any = st.builds(Finding, TEXTS, st.sampled_from(["Warning", "Error"]), IDS, TEXTS)
PLANS = st.builds(
    Plan,
    digest=HASHES.map(lambda value: "sha256:" + value),
    current=TEXTS,
    target=TEXTS,
    revisions=st.lists(REVISIONS, max_size=5).map(tuple),
    foreign=st.lists(IDS, max_size=3).map(tuple),
    findings=st.lists(FINDINGS, max_size=3).map(tuple),
    partial=st.booleans(),
    config_map=st.none() | st.just("shop-plan"),
)
RUNS: Any = st.builds(Run, TEXTS, TEXTS, WHOLE, WHOLE, st.sampled_from(["Succeeded", "Failed", "Superseded"]), TEXTS)
MEMORIES = st.builds(
    Memory,
    plan_key=TEXTS,
    plan=st.none() | PLANS,
    image_id=TEXTS,
    revision=TEXTS,
    done=st.frozensets(PURPOSES),
    attempts=st.dictionaries(PURPOSES, st.integers(0, 20)),
    ended=TEXTS,
    announced_at=st.none() | TIMES,
    approved=st.just("") | HASHES.map(lambda value: "sha256:" + value),
    failure=st.none() | st.builds(Trouble, REASONS, TEXTS, st.booleans()),
    failed_at=st.none() | TIMES,
    history=st.lists(RUNS, max_size=3).map(tuple),
    contracted=st.none() | st.builds(Contracted, TEXTS, st.lists(IDS, max_size=3).map(tuple), st.booleans()),
).map(lambda memory: memory if memory.failure else replace(memory, failed_at=None))
READY = Verdict("Ready", "UpToDate", "The database is at 0003.", "Complete")


def written(memory: Memory, verdict: Verdict = READY, former: dict[str, Any] | None = None) -> dict[str, Any]:
    return document(Decision(memory, verdict), (), former or {}, 3, "plan.sql", NOW)


def schema() -> Any:
    definition = yaml.safe_load(DEFINITION.read_text())
    found = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return closed(found)


def closed(part: Any) -> Any:
    """As the API server takes it: fields that aren't declared are lost."""
    if isinstance(part, list):
        return [closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {name: closed(value) for name, value in part.items()}
    return found | {"additionalProperties": False} if isinstance(part.get("properties"), dict) else found


VALIDATOR = jsonschema.Draft202012Validator(schema())


@given(MEMORIES)
def test_what_is_remembered_comes_back_from_the_status(memory: Memory) -> None:
    assert memory_of(written(memory)) == memory


@given(MEMORIES)
def test_the_definition_holds_every_status(memory: Memory) -> None:
    VALIDATOR.validate(written(memory))


def test_the_definition_refuses_a_field_that_it_does_not_know() -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**written(Memory()), "planned": True})


def test_a_status_that_nobody_wrote_remembers_nothing() -> None:
    assert memory_of({}) == Memory()
    assert memory_of({"observedGeneration": -1, "conditions": []}) == Memory()


def test_the_largest_status_is_within_the_definition_and_a_megabyte() -> None:
    plan = Plan(
        "sha256:" + "0" * 64,
        "0" * 256,
        "1" * 256,
        tuple(Revision(f"{n:064}", "contract", "x" * 256, "a" * 64) for n in range(1000)),
        findings=tuple(Finding("r" * 64, "Error", "1" * 64, "x" * 1024) for _ in range(150)),
        config_map="c" * 253,
    )
    run = Run("1" * 256, "i" * 1024, NOW, 1e9, "Succeeded", "0" * 256)
    memory = Memory(plan=plan, history=(run,) * 150, failure=Trouble("Failed", "x" * 9000))

    status = written(
        memory, Verdict("Stalled", "R" * 64, "x" * 9000, "Expanding", plan.revisions, "y" * 9000, "z" * 9000)
    )

    VALIDATOR.validate(status)
    assert len(str(status)) < 1_000_000


def kinds(status: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("Ready", {"Ready": "True"}),
        ("Reconciling", {"Ready": "False", "Reconciling": "True"}),
        ("Stalled", {"Ready": "False", "Stalled": "True"}),
        ("Suspended", {"Ready": "False"}),
    ],
)
def test_exactly_one_condition_of_kstatus_tells(state: Any, expected: dict[str, str]) -> None:
    found = kinds(written(Memory(), Verdict(state, "Why", "Because.", "Planning")))

    assert found == {**expected, "ContractPending": "False", "RollbackSafe": "True"}


def test_contracts_that_are_left_and_a_way_back_that_is_gone_are_conditions() -> None:
    status = written(Memory(), replace(READY, contract_pending="0003 waits.", rollback_unsafe="0003 is announced."))
    by_type = {one["type"]: one for one in status["conditions"]}

    assert (by_type["ContractPending"]["status"], by_type["ContractPending"]["message"]) == ("True", "0003 waits.")
    assert (by_type["RollbackSafe"]["status"], by_type["RollbackSafe"]["message"]) == ("False", "0003 is announced.")


def test_without_a_plan_nothing_is_said_of_contracts_and_of_the_way_back() -> None:
    status = written(Memory(), Verdict("Suspended", "Suspended", "x", "Planning", planned=False))

    assert kinds(status) == {"Ready": "False", "ContractPending": "Unknown", "RollbackSafe": "Unknown"}
    assert "pending" not in status
    VALIDATOR.validate(status)


def test_what_was_announced_before_is_said_without_a_plan_too() -> None:
    status = written(Memory(), Verdict("Ready", "X", "x", "Planning", rollback_unsafe="0003.", planned=False))

    assert kinds(status)["RollbackSafe"] == "False"


def test_a_suspended_resource_is_in_no_phase() -> None:
    plan = Plan("sha256:" + "0" * 64, "0001", "0002", (Revision("0002", "expand"),))

    assert "phase" not in written(Memory(plan=plan), Verdict("Suspended", "Suspended", "x", "Expanding"))
    assert written(Memory(plan=plan), Verdict("Reconciling", "X", "x", "Expanding"))["phase"] == "Expanding"


def test_an_image_that_somebody_rewrote_is_a_condition_of_its_own() -> None:
    status = written(Memory(), replace(READY, rewritten="mirror.example/app:1 in the place of app:1."))

    VALIDATOR.validate(status)
    assert kinds(status)["ImageRewritten"] == "True"
    assert "ImageRewritten" not in kinds(written(Memory()))


def test_a_transition_keeps_its_time_until_the_status_of_the_condition_changes() -> None:
    first = written(Memory(), Verdict("Reconciling", "Planning", "x", "Planning"))
    later = Decision(Memory(), Verdict("Reconciling", "Expanding", "y", "Expanding"))
    second = document(later, (), first, 4, "plan.sql", NOW + 60)
    third = document(Decision(Memory(), READY), (), second, 4, "plan.sql", NOW + 120)
    times = [one["conditions"][0]["lastTransitionTime"] for one in (first, second, third)]

    assert times[0] == times[1] < times[2]
    assert second["conditions"][0]["reason"] == "Expanding"
    assert {one["observedGeneration"] for one in second["conditions"]} == {4}


def test_the_same_decision_writes_the_same_status_later() -> None:
    first = written(Memory())

    assert document(Decision(Memory(), READY), (), first, 3, "plan.sql", NOW + 60) == first


def test_people_read_which_job_runs_and_how_many_there_were() -> None:
    memory = Memory(done=frozenset({"plan"}), attempts={"expand": 2}, ended="shop-expand-1")
    running = JobSeen("shop-expand-2", "expand", "k.1", 2, "running", NOW)

    status = document(Decision(memory, READY), (running,), {}, 3, "plan.sql", NOW)

    assert (status["job"], status["attempt"], status["lastJob"]) == ("shop-expand-2", 3, "shop-expand-1")
    assert (written(memory)["job"], written(memory)["pending"]) == ("shop-expand-1", 0)
