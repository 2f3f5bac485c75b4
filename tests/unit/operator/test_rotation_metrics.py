"""Prometheus and the log are told of rotations and of how long their Secrets took to reach every pod."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest

from slipway_operator import telemetry
from slipway_operator.cluster import Resource
from slipway_operator.exclusion import Exclusion
from slipway_operator.keyrings import apply as ring_writes
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import Observed as RingObserved
from slipway_operator.keyrings.observe import Look as RingLook
from slipway_operator.logins import postgres, reconcile
from slipway_operator.logins.model import (
    Decision,
    Effect,
    HandOver,
    Memory,
    Observed,
    PrepareRoles,
    Scramble,
    SecretSeen,
    Verdict,
)
from slipway_operator.logins.observe import Look
from slipway_operator.logins.reconcile import DatabaseLogins
from slipway_operator.migrations.reconcile import Migrations
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.rotations import Rotation
from slipway_operator.worklist import Key
from unit.operator import keyring_objects, ring_situations
from unit.operator.login_objects import NAME, NAMESPACE, WRITTEN, Cluster
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import NOW as MIGRATED
from unit.operator.migration_objects import deployment, plan_log, resource
from unit.operator.ring_situations import AFTER, ALL, NOW, ONE_BEHIND, rotated
from unit.operator.test_login_decide import REST, pods
from unit.operator.test_migration_apply import end

KEY = Key("DatabaseLogin", NAMESPACE, NAME)


def counted(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(f"slipway_operator_{name}", labels) or 0.0


def propagation(kind: str) -> tuple[float, float]:
    return tuple(counted(f"secret_propagation_seconds_{what}", kind=kind) for what in ("count", "sum"))  # type: ignore[return-value]


async def written(observed: RingObserved) -> None:
    cluster = keyring_objects.Cluster()
    cluster.put("keyrings", keyring_objects.ring())
    assert await ring_writes.write(cluster, RingLook(observed, cluster.ring), decide(observed, NOW), NOW)


async def test_a_key_that_every_pod_signs_with_ends_its_rotation_and_tells_how_long_that_took() -> None:
    before, rotations = (
        propagation("KeyRing"),
        counted("rotations_total", kind="KeyRing", cause="Nonce", result="Confirmed"),
    )
    observed = ring_situations.ring(**AFTER, memory=rotated(), consumers=ALL)
    await written(observed)
    after = propagation("KeyRing")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 300.0)
    assert counted("rotations_total", kind="KeyRing", cause="Nonce", result="Confirmed") == rotations + 1
    # What was confirmed before, or lags, is told of no more.
    await written(replace(observed, memory=decide(observed, NOW).memory))
    await written(replace(observed, consumers=ONE_BEHIND))
    assert propagation("KeyRing") == after
    assert counted("rotations_total", kind="KeyRing", cause="Nonce", result="Confirmed") == rotations + 1


class Nudged(Cluster):
    """Names of pods that the kubelet was made to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.nudged: list[str] = []

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        del resource, namespace
        self.nudged.append(name)
        return body


class Logins:
    """A DatabaseLogin whose looks show `observed` and come to `effect`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.observed = 1000.0, REST
        self.effect: Effect | None = None
        self.memory = REST.memory
        self.cluster = Nudged()
        http = cast("aiohttp.ClientSession", None)
        self.logins = DatabaseLogins(
            self.cluster, http, NamedSecrets(self.cluster), Exclusion(), clock=lambda: self.now
        )
        for name in ("prepare", "set_password", "fence"):
            monkeypatch.setattr(postgres, name, self._done)
        monkeypatch.setattr(reconcile, "look", self._look)
        monkeypatch.setattr(reconcile, "decide", self._decide)

    async def _done(self, *_: object) -> None:
        pass

    async def _look(self, *_: object) -> Look:
        found = self.cluster.objects["databaselogins", NAME]
        secret = self.cluster.objects.get(("secrets", WRITTEN))
        version = secret["metadata"]["resourceVersion"] if secret else None
        admin = cast("Any", type("Admin", (), {"address": ("db", 5432, "shop")})())
        return Look(self.observed, found, version, admin=admin)

    def _decide(self, observed: Observed, _: float) -> Decision:
        assert observed.spec == REST.spec
        return Decision(self.memory, Verdict("Ready", "Stable", "It works."), self.effect, look_again=7.0)

    async def look(self, **observed: Any) -> None:
        self.observed = replace(self.observed, **observed)
        await self.logins.reconcile(KEY)


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Logins:
    return Logins(monkeypatch)


async def test_how_long_a_login_took_to_reach_every_pod_is_told_once(
    logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed(*_: object) -> bool:
        return True

    monkeypatch.setattr("slipway_operator.logins.apply.effect", handed)
    before = propagation("DatabaseLogin")
    logins.effect = HandOver("b", "Nonce", "1")
    await logins.look()
    assert logins.cluster.nudged == ["p0", "p1"]
    logins.effect = None
    secret = replace(cast("SecretSeen", REST.secret), role="b")
    for now, roles in ((1005.0, ("a", "b")), (1006.0, ())):
        logins.now = now
        await logins.look(secret=secret, consumers=pods(*roles))
        assert propagation("DatabaseLogin") == before
    for now in (1007.0, 1008.0):
        logins.now = now
        await logins.look(consumers=pods("b", "b"))
    after = propagation("DatabaseLogin")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 7.0)


async def test_a_rotation_of_a_login_that_ended_is_counted_by_cause_and_end(logins: Logins) -> None:
    before = counted("rotations_total", kind="DatabaseLogin", cause="Nonce", result="Confirmed")
    logins.memory = Memory("b", 1.0, "1", history=(Rotation("b", 1.0, "Nonce", "a", 5.0, "Confirmed"),))
    await logins.look()
    assert counted("rotations_total", kind="DatabaseLogin", cause="Nonce", result="Confirmed") == before + 1


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (PrepareRoles(("shop_a", "shop_b")), "Roles shop_a, shop_b are as they should be."),
        (Scramble("shop_b"), "Role shop_b has a password that nobody knows."),
    ],
)
async def test_what_was_done_in_the_database_is_in_the_log(
    logins: Logins, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, effect: Effect, said: str
) -> None:
    async def nothing(*_: object) -> str:
        return ""

    monkeypatch.setattr("slipway_operator.logins.apply.migrating", nothing)
    logins.effect = effect
    with caplog.at_level(logging.INFO):
        await logins.look()
    assert said in [record.getMessage() for record in caplog.records]


async def test_a_job_that_is_made_is_in_the_log_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    cluster = MemoryApi()
    cluster.put("schemamigrations", resource())
    cluster.put("deployments", deployment())
    before = counted("jobs_total", purpose="plan", result="created")
    with caplog.at_level(logging.INFO):
        await Migrations(cluster, clock=lambda: MIGRATED).reconcile(Key("SchemaMigration", "one", "shop"))
    (job,) = cluster.all("jobs")
    assert f"Job {job['metadata']['name']} is made." in [record.getMessage() for record in caplog.records]
    assert counted("jobs_total", purpose="plan", result="created") == before + 1


async def test_a_job_that_ended_is_counted_once() -> None:
    cluster, key = MemoryApi(), Key("SchemaMigration", "one", "shop")
    cluster.put("schemamigrations", resource())
    cluster.put("deployments", deployment())
    migrations = Migrations(cluster, clock=lambda: MIGRATED)
    await migrations.reconcile(key)
    before = counted("jobs_total", purpose="plan", result="succeeded")
    end(cluster, plan_log())
    for _ in range(3):
        await migrations.reconcile(key)
        assert counted("jobs_total", purpose="plan", result="succeeded") == before + 1
