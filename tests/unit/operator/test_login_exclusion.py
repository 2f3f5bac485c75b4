"""A login's change and the start of a migration's Job never overlap."""

from __future__ import annotations

import asyncio

import pytest

from slipway_operator.exclusion import Exclusion
from slipway_operator.migrations.reconcile import Migrations
from slipway_operator.worklist import Key
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import deployment, resource

NAMESPACE = "one"
NOW = 1_795_000_000.0
KEY = Key("SchemaMigration", NAMESPACE, "shop")


async def test_one_namespace_waits_for_its_own_turn_and_not_for_another() -> None:
    exclusion, order = Exclusion(), list[str]()

    async def other(namespace: str) -> None:
        async with exclusion.held(namespace):
            order.append(namespace)

    async with exclusion.held("one"):
        waiting = asyncio.create_task(other("one"))
        await other("two")
        order.append("released")
    await waiting
    assert order == ["two", "released", "one"]


async def test_a_failure_or_the_end_of_a_waiting_one_gives_the_turn_on() -> None:
    exclusion = Exclusion()
    with pytest.raises(RuntimeError):
        async with exclusion.held("one"):
            raise RuntimeError
    async with exclusion.held("one"):
        waiting = asyncio.create_task(exclusion.held("one").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), exclusion.held("one"):
        pass
    assert exclusion._locks == {}  # noqa: SLF001 - nothing grows with the namespaces that were


async def test_a_migration_makes_no_job_while_a_login_changes() -> None:
    cluster, exclusion = MemoryApi(), Exclusion()
    cluster.put("schemamigrations", resource())
    cluster.put("deployments", deployment())
    migrations = Migrations(cluster, clock=lambda: NOW, exclusion=exclusion)
    async with exclusion.held(NAMESPACE):
        look = asyncio.create_task(migrations.reconcile(KEY))
        while "apply_status schemamigrations" not in cluster.calls:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert "create jobs" not in cluster.calls
    await look
    assert "create jobs" in cluster.calls
