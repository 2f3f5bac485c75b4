"""When pods that don't follow a changed Secret are nudged again."""

from __future__ import annotations

from typing import Any

from slipway_operator.cluster import ApiError, ForbiddenError, NotFoundError, Resource
from slipway_operator.evidence.nudging import NUDGE, Nudges, nudge
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


class Refusing(MemoryApi):
    """Takes patches of statuses, or refuses them."""

    def __init__(self, refusals: dict[str, ApiError]) -> None:
        super().__init__()
        self.refusals = refusals
        self.patched: dict[str, Any] = {}

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (resource.plural, namespace) == ("pods", "ships")
        if name in self.refusals:
            raise self.refusals[name]
        self.patched[name] = body
        return body


async def test_a_nudge_touches_one_annotation_of_each_pod() -> None:
    cluster = Refusing({"gone": NotFoundError(404, "NotFound", "no"), "busy": ApiError(500, "InternalError", "no")})
    assert await nudge(cluster, "ships", ["a", "gone", "busy", "b"], "12.5") == ""
    assert cluster.patched == {key: {"metadata": {"annotations": {NUDGE: "12.5"}}} for key in "ab"}


async def test_a_right_that_lacks_is_told_and_stops_no_other_nudge() -> None:
    cluster = Refusing({"a": ForbiddenError(403, "Forbidden", "may not patch pods/status")})
    assert await nudge(cluster, "ships", ["a", "b"], "1") == "may not patch pods/status"
    assert set(cluster.patched) == {"b"}
