from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slipway_operator.evidence.consumers import Lagging
from slipway_operator.logins.model import Decision, Memory, Session, Verdict
from slipway_operator.logins.status import document, memory_of
from slipway_operator.rotations import Rotation

DEFINITION = Path(__file__).parents[3] / "chart" / "crds" / "databaselogins.slipway.dev.yaml"
NOW = 1_795_000_000.0
ROLES = st.from_regex(r"[a-z_][a-z0-9_$]{0,62}", fullmatch=True)
REASONS = st.from_regex(r"[A-Z][A-Za-z0-9]{0,63}", fullmatch=True)
TIMES = st.integers(0, 2**32).map(float)
MILLISECONDS = st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1_000)
ROTATIONS: Any = st.builds(
    Rotation,
    ROLES,
    TIMES,
    st.sampled_from(["Schedule", "Nonce", "Created", "Healed"]),
    st.just("") | ROLES,
    st.none() | MILLISECONDS,
    st.sampled_from([None, "Confirmed", "Superseded"]),
)
MEMORIES = st.builds(
    Memory,
    role=st.just("") | ROLES,
    role_since=st.none() | TIMES,
    handled_nonce=st.text(max_size=64),
    scrambled=st.frozensets(ROLES, max_size=2),
    history=st.lists(ROTATIONS, max_size=5).map(tuple),
)
SESSIONS: Any = st.builds(
    Session, st.integers(1, 2**31 - 1), ROLES, st.text(max_size=99), st.text(max_size=99), st.none() | TIMES
)
LAGGING: Any = st.builds(Lagging, st.from_regex(r"[a-z0-9-]{1,253}", fullmatch=True), REASONS)
VERDICTS: Any = st.builds(
    Verdict,
    st.sampled_from(["Ready", "Reconciling", "Stalled", "Suspended"]),
    REASONS,
    st.text(max_size=5_000),
    running=st.integers(0, 500),
    confirmed=st.integers(0, 500),
    lagging=st.lists(LAGGING, max_size=30, unique_by=lambda one: one.pod).map(tuple),
    old_sessions=st.lists(SESSIONS, max_size=15, unique_by=lambda one: one.pid).map(tuple),
    next_rotation=st.none() | TIMES,
)
DECISIONS = st.builds(Decision, MEMORIES, VERDICTS)


def schema() -> Any:
    definition = yaml.safe_load(DEFINITION.read_text())
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


SCHEMA = schema()


@given(MEMORIES)
def test_what_is_written_is_what_is_remembered(memory: Memory) -> None:
    written = document(Decision(memory, Verdict("Ready", "Stable", "Text.")), {}, 1, NOW)
    assert memory_of(written) == memory


@given(DECISIONS)
def test_every_status_is_within_the_bounds_of_its_definition(decision: Decision) -> None:
    written = document(decision, {}, 3, NOW)
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    assert set(written) <= set(SCHEMA["properties"])
    for part in ("consumers", "sessions"):
        assert set(written[part]) <= set(SCHEMA["properties"][part]["properties"])


def test_nothing_is_remembered_of_a_status_that_nobody_wrote() -> None:
    assert memory_of({"observedGeneration": -1, "conditions": []}) == Memory()


def test_a_status_names_the_oldest_sessions_and_never_more_than_ten() -> None:
    sessions = tuple(Session(pid, "a", "x" * 90, "idle", NOW) for pid in range(1, 13))
    decision = Decision(Memory(), Verdict("Reconciling", "OldSessionsRemain", "Text.", old_sessions=sessions))
    shown = document(decision, {}, 1, NOW)["sessions"]
    assert shown["old"] == 12
    assert [one["pid"] for one in shown["oldest"]] == list(range(1, 11))
    assert shown["oldest"][0] == {
        "pid": 1, "applicationName": "x" * 63 + "…", "state": "idle", "started": "2026-11-18T11:06:40Z"
    }  # fmt: skip


def test_the_time_of_a_transition_stays_while_the_condition_does() -> None:
    decision = Decision(Memory(), Verdict("Ready", "Stable", "Text."))
    first = document(decision, {}, 1, NOW)
    later = document(replace(decision, verdict=Verdict("Ready", "Rotated", "Other.")), first, 2, NOW + 60)
    assert later["conditions"][0]["lastTransitionTime"] == first["conditions"][0]["lastTransitionTime"]
    assert later["conditions"][0]["reason"] == "Rotated"


def test_a_rotation_that_is_under_way_has_neither_an_end_nor_a_result() -> None:
    memory = Memory("b", NOW, history=(Rotation("b", NOW, "Nonce", "a"),))
    written = document(Decision(memory, Verdict("Reconciling", "ConsumersLagging", "Text.")), {}, 1, NOW)
    assert written["history"] == [{"from": "a", "to": "b", "cause": "Nonce", "started": "2026-11-18T11:06:40Z"}]
