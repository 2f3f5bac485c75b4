"""Prometheus is told which resources wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import aiohttp
import pytest

from slipway_operator.cluster import Api, Resource
from slipway_operator.conditions import State
from slipway_operator.evidence.nudging import Nudges
from slipway_operator.exclusion import Exclusion
from slipway_operator.keyrings.reconcile import KeyRings
from slipway_operator.logins.reconcile import DatabaseLogins
from slipway_operator.migrations.reconcile import Migrations
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.statuses import write_status
from slipway_operator.telemetry import LAGGING, REGISTRY, STALLED
from slipway_operator.worklist import Key, Reconciler
from unit.operator.memory_api import MemoryApi

KIND = Resource("slipway.dev", "v1alpha1", "keyrings")
RING: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "KeyRing",
    "metadata": {"name": "keys", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
}
LABELS = {"kind": "KeyRing", "namespace": "shop", "name": "keys"}
NOW = 1_795_000_000.0


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    yield
    STALLED.clear()
    LAGGING.clear()


@pytest.fixture
def api() -> MemoryApi:
    found = MemoryApi()
    found.put("keyrings", {**RING, "status": {}})
    return found


def told() -> float | None:
    return REGISTRY.get_sample_value("slipway_operator_resource_stalled", LABELS)


@pytest.mark.parametrize(
    ("state", "value"), [("Ready", 0.0), ("Reconciling", 0.0), ("Stalled", 1.0), ("Suspended", 0.0)]
)
async def test_only_a_resource_that_is_stalled_waits_for_a_person(api: MemoryApi, state: State, value: float) -> None:
    await write_status(api, KIND, RING, {"observedGeneration": 1}, (state, "Reason", "Text."), NOW)
    assert told() == value


async def test_what_a_person_mended_waits_for_nobody_any_more(api: MemoryApi) -> None:
    for state, value in (("Stalled", 1.0), ("Reconciling", 0.0), ("Stalled", 1.0), ("Ready", 0.0)):
        await write_status(api, KIND, RING, {"observedGeneration": 1}, (cast("State", state), "Reason", "Text."), NOW)
        assert told() == value


async def test_a_status_that_says_so_already_is_told_by_an_operator_that_just_started(api: MemoryApi) -> None:
    shown = {"observedGeneration": 1}
    await write_status(api, KIND, {**RING, "status": shown}, shown, ("Stalled", "Reason", "Text."), NOW, whole=False)
    assert api.calls == []
    assert told() == 1.0


def reconcilers(api: Api) -> dict[str, Reconciler]:
    http = cast("aiohttp.ClientSession", None)  # no pod is there to be asked
    return {
        "SchemaMigration": Migrations(api),
        "KeyRing": KeyRings(api, http, NamedSecrets(api)),
        "DatabaseLogin": DatabaseLogins(api, http, NamedSecrets(api), Exclusion()),
    }


@pytest.mark.parametrize("kind", ["SchemaMigration", "KeyRing", "DatabaseLogin"])
async def test_a_resource_that_is_gone_takes_its_series_along(kind: str) -> None:
    key = Key(kind, "shop", "keys")
    for gauge in (STALLED, LAGGING):
        gauge.labels(*key).set(1)
    assert await reconcilers(MemoryApi())[kind].reconcile(key) is None
    for name in ("slipway_operator_resource_stalled", "slipway_operator_consumers_lagging"):
        assert REGISTRY.get_sample_value(name, key._asdict()) is None


def remembered(reconciler: object) -> list[Any]:
    """All that a reconciler, and what it nudges by, keeps by key."""
    held = [reconciler, *(one for one in vars(reconciler).values() if isinstance(one, Nudges))]
    return [value for one in held for value in vars(one).values() if isinstance(value, dict | set)]


@pytest.mark.parametrize("kind", ["SchemaMigration", "KeyRing", "DatabaseLogin"])
async def test_a_resource_that_is_gone_leaves_nothing_in_the_memory(kind: str) -> None:
    key = Key(kind, "shop", "keys")
    reconciler = reconcilers(MemoryApi())[kind]
    found = remembered(reconciler)
    assert found
    for kept in found:
        kept.update({key: None} if isinstance(kept, dict) else {key})
    assert await reconciler.reconcile(key) is None
    assert all(key not in kept for kept in found)


@pytest.mark.parametrize("kind", ["KeyRing", "DatabaseLogin"])
async def test_the_secret_of_a_resource_that_is_gone_is_watched_no_more(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Key] = []
    monkeypatch.setattr(NamedSecrets, "forget", lambda _, key: forgotten.append(key))
    key = Key(kind, "shop", "keys")
    assert await reconcilers(MemoryApi())[kind].reconcile(key) is None
    assert forgotten == [key]
