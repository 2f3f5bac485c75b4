"""Lists that many looks share are as fresh as each one's own would be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slipway_operator.cluster import DEPLOYMENTS, PODS, Resource, UnreachableError
from slipway_operator.evidence.lists import Listed, Lists
from unit.operator.memory_api import MemoryApi


class Slow(MemoryApi):
    """Each list waits until it is let go, and then shows what was there when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()
        self.under_way = self.most = 0

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        found = await super().list(resource, namespace, labels=labels, fields=fields)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.began.set()
        try:
            await self.let_go.wait()
        finally:
            self.under_way -= 1
        return found

    def add(self, name: str) -> None:
        self.put("pods", {"metadata": {"name": name}, "spec": {}})


def names(listed: Listed) -> list[str]:
    return [one["metadata"]["name"] for one in listed.all]


async def test_a_look_that_asks_while_a_list_is_under_way_gets_one_that_begins_afterwards() -> None:
    api = Slow()
    lists = Lists(api)
    api.add("before")
    first = asyncio.create_task(lists.fresh(PODS, "ships"))
    await api.began.wait()
    api.add("since")
    later = [asyncio.create_task(lists.fresh(PODS, "ships")) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)  # all have asked, and what could begin has begun
    api.let_go.set()
    assert names(await first) == ["before"]
    assert [names(await each) for each in later] == [["before", "since"]] * 20
    assert (api.calls, api.most) == (["list pods"] * 2, 1), "the twenty share one, and never two at a time"
    assert (lists._running, lists._next) == ({}, {}), "what was listed isn't held"  # noqa: SLF001 - a leak shows nowhere else


async def test_each_namespace_and_kind_has_its_own() -> None:
    api = Slow()
    lists = Lists(api)
    asked = [asyncio.create_task(lists.fresh(*place)) for place in ((PODS, "a"), (PODS, "b"), (DEPLOYMENTS, "a"))]
    while api.under_way < 3:
        api.began.clear()
        await api.began.wait()
    api.let_go.set()
    await asyncio.gather(*asked)


async def test_one_after_the_other_is_listed_anew() -> None:
    api = Slow()
    api.let_go.set()
    lists = Lists(api)
    assert names(await lists.fresh(PODS, "ships")) == []
    api.add("new")
    assert names(await lists.fresh(PODS, "ships")) == ["new"]


async def test_what_fails_fails_for_all_that_shared_it_and_for_no_other() -> None:
    api = Slow()
    api.let_go.set()
    lists = Lists(api)
    api.faults["list pods"] = UnreachableError(0, "Unreachable", "away")
    shared = await asyncio.gather(*(lists.fresh(PODS, "ships") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in shared] == [UnreachableError] * 3
    del api.faults["list pods"]
    assert names(await lists.fresh(PODS, "ships")) == []


async def test_a_look_that_is_broken_off_breaks_off_no_other() -> None:
    api = Slow()
    lists = Lists(api)
    first, second = (asyncio.create_task(lists.fresh(PODS, "ships")) for _ in range(2))
    await api.began.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    api.let_go.set()
    assert names(await second) == []
