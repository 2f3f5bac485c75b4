"""A status is written when it differs, and a transition is told once: as an event and a line of the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from slipway_operator.cluster import ApiError, ConflictError, Resource
from slipway_operator.conditions import State, by_state, merged
from slipway_operator.statuses import write_status
from unit.operator.memory_api import MemoryApi

KIND = Resource("slipway.dev", "v1alpha1", "keyrings")
NOW = 1_795_000_000.0


class Ring:
    """A resource whose status is written with a state, a reason and a message."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        metadata = {"name": "keys", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3}
        self.api.put("keyrings", {"apiVersion": "slipway.dev/v1alpha1", "kind": "KeyRing", "metadata": metadata})

    @property
    def found(self) -> dict[str, Any]:
        return self.api.objects["keyrings", "keys"]

    async def write(self, state: State, reason: str, message: str = "Text.", now: float = NOW, **how: bool) -> bool:
        former = self.found.get("status", {}).get("conditions", ())
        wanted = {"conditions": merged(by_state(state, reason, message), former, 3, now)}
        return await write_status(self.api, KIND, self.found, wanted, (state, reason, message), now, **how)

    def calls(self) -> list[str]:
        found, self.api.calls = self.api.calls, []
        return found

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {one["type"]: one for one in self.found["status"]["conditions"]}


@pytest.fixture
def ring() -> Ring:
    return Ring()


WRITTEN, TOLD = "apply_status keyrings", "create events"


async def test_what_is_as_it_was_is_not_written_and_another_text_is_no_transition(ring: Ring) -> None:
    assert await ring.write("Ready", "Stable")
    assert ring.calls() == [WRITTEN, TOLD]
    assert await ring.write("Ready", "Stable", now=NOW + 9)
    assert ring.calls() == []
    assert await ring.write("Ready", "Stable", "Other text.")
    assert ring.calls() == [WRITTEN]
    assert ring.conditions()["Ready"]["message"] == "Other text."


async def test_another_reason_or_a_person_who_must_act_now_is_a_transition(
    ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    steps: tuple[tuple[State, str], ...] = (
        ("Ready", "Stable"),
        ("Reconciling", "Rotating"),
        ("Reconciling", "Lost"),
        ("Stalled", "Lost"),
    )
    with caplog.at_level(logging.INFO):
        for state, reason in steps:
            await ring.write(state, reason)
            assert ring.calls() == [WRITTEN, TOLD]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Stable: Text."),
        ("INFO", "Rotating: Text."),
        ("INFO", "Lost: Text."),
        ("WARNING", "Lost: Text."),
    ]
    events = ring.api.all("events")
    assert [(one["type"], one["reason"]) for one in events] == [
        ("Normal", "Stable"),
        ("Normal", "Rotating"),
        ("Normal", "Lost"),
        ("Warning", "Lost"),
    ]


async def test_the_time_of_a_transition_is_that_of_the_condition_s_own_status(ring: Ring) -> None:
    await ring.write("Reconciling", "Rotating", now=NOW)
    await ring.write("Reconciling", "Other", now=NOW + 60)
    first = ring.conditions()["Ready"]["lastTransitionTime"]
    await ring.write("Ready", "Stable", now=NOW + 120)
    assert first == "2026-11-18T11:06:40Z"
    assert ring.conditions()["Ready"]["lastTransitionTime"] == "2026-11-18T11:08:40Z"
    assert ring.conditions()["Ready"]["observedGeneration"] == 3
    assert "Reconciling" not in ring.conditions()


async def test_of_one_that_somebody_changed_meanwhile_nothing_is_told(ring: Ring) -> None:
    ring.api.faults[WRITTEN] = ConflictError(409, "Conflict", "another version")
    assert not await ring.write("Ready", "Stable")
    assert ring.calls() == [WRITTEN]


@pytest.mark.parametrize(
    ("fault", "lines"),
    [(ConflictError(409, "AlreadyExists", "x"), 0), (ApiError(500, "InternalError", "out of order"), 1)],
)
async def test_an_event_that_cannot_be_written_holds_nothing_up(
    ring: Ring, caplog: pytest.LogCaptureFixture, fault: ApiError, lines: int
) -> None:
    ring.api.faults[TOLD] = fault
    assert await ring.write("Ready", "Stable")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["An event couldn't be written: out of order"] * lines


async def test_whose_times_are_the_server_s_is_told_by_a_whole_look_alone(ring: Ring) -> None:
    await ring.write("Ready", "Stable", whole=False)
    assert list(ring.conditions()) == ["Ready"]
    await ring.write("Ready", "Stable")
    assert ring.conditions()["ClockSkewed"]["status"] == "False"
    await ring.write("Reconciling", "Rotating", whole=False)  # what was told of them before stays told
    assert "ClockSkewed" in ring.conditions()
