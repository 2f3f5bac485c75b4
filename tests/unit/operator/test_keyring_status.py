"""What is written into a status is what the next look remembers, and fits the definition's bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slipway_operator.evidence.consumers import Lagging
from slipway_operator.keyrings.model import Cause, Decision, Key, Memory, Stage, Verdict
from slipway_operator.keyrings.status import document, memory_of
from slipway_operator.rotations import Result, Rotation

NOW = 1_795_000_000.0
STAGES: list[Stage] = ["Published", "Signing", "Retiring", "Revoked"]
CAUSES: list[Cause] = ["Schedule", "Nonce", "Revoke", "Created", "Healed"]
RESULTS: list[Result] = ["Confirmed", "Unverified", "Superseded"]

ids = st.text("abcXYZ019._~-", min_size=1, max_size=128)
times = st.integers(1_000_000_000, 2_000_000_000).map(float)
keys = st.builds(
    Key,
    id=ids,
    algorithm=st.sampled_from(["EdDSA", "ES256", "RS256"]),
    stage=st.sampled_from(STAGES),
    created=times,
    since=times,
    confirmed=st.none() | times,
    retire_after=st.none() | times,
    lifetime=st.sampled_from([0.0, 900.0, 3600.5]),
)
ended = st.builds(
    Rotation,
    to=ids,
    started=times,
    cause=st.sampled_from(CAUSES),
    origin=ids,
    took=st.integers(0, 86_400).map(float),
    result=st.sampled_from(RESULTS),
)
running = st.builds(Rotation, to=ids, started=times, cause=st.sampled_from(CAUSES), origin=ids)
memories = st.builds(
    Memory,
    keys=st.lists(keys, max_size=6, unique_by=lambda key: key.id).map(tuple),
    handled_nonce=st.text("ab", max_size=64),
    history=st.lists(ended | running, max_size=5).map(tuple),
)


@given(memories)
def test_what_is_remembered_is_what_was_written(memory: Memory) -> None:
    written = document(Decision(memory, Verdict("Ready", "Stable", "")), {}, 1, NOW)
    assert memory_of(written) == memory


def test_a_status_that_never_was_written_remembers_nothing() -> None:
    assert memory_of({"observedGeneration": -1}) == Memory()


def test_long_lists_and_messages_are_cut_to_the_definition_s_bounds() -> None:
    history = tuple(Rotation("k", NOW, "Schedule", "j", 1.0, "Confirmed") for _ in range(150))
    lagging = tuple(Lagging(f"pod-{number}", "TimedOut") for number in range(50))
    verdict = Verdict("Reconciling", "ConsumersLagging", "x" * 5000, running=50, lagging=lagging)

    written = document(Decision(Memory(history=history), verdict), {}, 1, NOW)

    assert len(written["history"]) == 100
    assert len(written["consumers"]["lagging"]) <= 20
    assert all(len(condition["message"]) <= 4096 for condition in written["conditions"])


def test_evidence_of_time_is_told_as_a_condition() -> None:
    written = document(Decision(Memory(), Verdict("Ready", "Stable", "", unverified=True)), {}, 1, NOW)
    assert [(each["type"], each["status"]) for each in written["conditions"]] == [
        ("Ready", "True"),
        ("Unverified", "True"),
    ]
