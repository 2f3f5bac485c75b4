"""When pods that don't follow a changed Secret are nudged again."""

from __future__ import annotations

from typing import Any

from slipway_operator.asking import NUDGE
from slipway_operator.cluster import Resource
from slipway_operator.nudging import Nudges
from slipway_operator.worklist import Key
from unit.operator.memory_api import MemoryApi

KEY = Key("KeyRing", "ships", "app")


class Nudged(MemoryApi):
    """Names of pods with the time that each nudge carried."""

    def __init__(self) -> None:
        super().__init__()
        self.patched: list[tuple[str, str]] = []

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (resource.plural, namespace) == ("pods", "ships")
        self.patched.append((name, body["metadata"]["annotations"][NUDGE]))
        return body


async def test_a_pod_that_lags_is_nudged_again_after_a_second_then_every_five() -> None:
    cluster = Nudged()
    nudges = Nudges(cluster)
    await nudges.at_once(KEY, ["a", "b"], 100.0)
    for tenths in range(1, 121):
        await nudges.again(KEY, ("b",), 100.0 + tenths / 10)
    assert cluster.patched == [("a", "100.000"), ("b", "100.000"), ("b", "101.000"), ("b", "106.000"), ("b", "111.000")]


async def test_another_write_nudges_at_once_and_starts_the_pauses_over() -> None:
    cluster = Nudged()
    nudges = Nudges(cluster)
    await nudges.at_once(KEY, ["a"], 100.0)
    await nudges.again(KEY, ("a",), 101.0)
    await nudges.at_once(KEY, ["a"], 102.0)
    await nudges.again(KEY, ("a",), 103.0)
    assert [at for _, at in cluster.patched] == ["100.000", "101.000", "102.000", "103.000"]


async def test_who_follows_is_left_alone() -> None:
    cluster = Nudged()
    await Nudges(cluster).again(KEY, (), 100.0)
    assert cluster.patched == []
