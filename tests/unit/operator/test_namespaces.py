"""Namespaces that can't be watched are left out, one by one, and taken up again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kopf._cogs.structs.references import Insights

from servers.waiting import until
from slipway_operator import namespaces
from slipway_operator.cluster import ApiError, ForbiddenError, Resource, UnreachableError
from unit.operator.memory_api import MemoryApi

REFUSED = ForbiddenError(403, "Forbidden", "leases is forbidden in this namespace")
AWAY = UnreachableError(0, "Unreachable", "no answer")


class Cluster(MemoryApi):
    """Refuses by namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: dict[str, ApiError] = {}
        self.looks = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        del resource, name
        self.looks += 1
        if namespace in self.refusals:
            raise self.refusals[namespace]
        return None


@asynccontextmanager
async def kept(cluster: Cluster, *further: str) -> AsyncIterator[Insights]:
    insights = Insights()
    insights.namespaces.add("home")
    task = asyncio.create_task(namespaces.keep(cluster, further, insights, pause=0.01))
    try:
        yield insights
    finally:
        task.cancel()


async def test_those_that_are_not_refused_are_watched_beside_home() -> None:
    cluster = Cluster()
    cluster.refusals["gone"] = REFUSED
    async with kept(cluster, "harbour", "gone") as insights:
        await until(lambda: insights.namespaces == {"home", "harbour"})


async def test_one_that_is_refused_later_is_left_out_and_taken_up_again(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    with caplog.at_level(logging.WARNING):
        async with kept(cluster, "harbour", "yard") as insights:
            await until(lambda: insights.namespaces == {"home", "harbour", "yard"})
            cluster.refusals["yard"] = REFUSED
            await until(lambda: insights.namespaces == {"home", "harbour"})
            del cluster.refusals["yard"]
            await until(lambda: insights.namespaces == {"home", "harbour", "yard"})
    assert [record.getMessage() for record in caplog.records] == [
        "Namespace yard isn't watched: leases is forbidden in this namespace",
        "Namespace yard is watched again.",
    ]


async def test_kopf_is_told_once_of_each_change() -> None:
    cluster = Cluster()
    told = 0
    async with kept(cluster, "harbour") as insights:

        async def count() -> None:
            nonlocal told
            async with insights.revised:
                while True:
                    await insights.revised.wait()
                    told += 1

        counting = asyncio.create_task(count())
        await until(lambda: cluster.looks >= 10)
        cluster.refusals["harbour"] = REFUSED
        await until(lambda: insights.namespaces == {"home"})
        looks = cluster.looks
        await until(lambda: cluster.looks >= looks + 10)
        counting.cancel()
    assert told <= 2


async def test_a_server_that_is_away_changes_nothing() -> None:
    cluster = Cluster()
    async with kept(cluster, "harbour") as insights:
        await until(lambda: insights.namespaces == {"home", "harbour"})
        cluster.refusals["harbour"] = AWAY
        looks = cluster.looks
        await until(lambda: cluster.looks >= looks + 5)
        assert insights.namespaces == {"home", "harbour"}
