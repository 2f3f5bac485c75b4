"""kopf's watches as this operator sets them up, against a server that tells what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from servers.waiting import until
from slipway_operator import watch
from slipway_operator.cluster import Api
from slipway_operator.leases import Leases
from slipway_operator.settings import Settings
from slipway_operator.telemetry import LastEvents
from slipway_operator.worklist import Key, Worklist
from unit.operator.few_answers import FewAnswers, served

HERE = Settings(namespaces=("shop",), namespace="shop", identity="pod-1")
RING = Key(watch.KEY_RING, "shop", "ring")
MIGRATION = Key(watch.MIGRATION, "shop", "schema")


@dataclass
class Heard:
    """What the worklist and the Leases were told, in their order."""

    said: list[tuple[str, Key]] = field(default_factory=list)
    own_lease: bool = True

    def wake(self, key: Key) -> None:
        self.said.append(("wake", key))

    def forget(self, key: Key) -> None:
        self.said.append(("forget", key))

    def came(self, key: Key) -> None:
        self.said.append(("came", key))

    def gone(self, key: Key) -> None:
        self.said.append(("gone", key))

    def is_own(self, found: Any) -> bool:
        return bool(found["metadata"]["name"]) and self.own_lease


class Watches:
    """They run on a loop of their own, in a thread: kopf waits at its end for every task of its loop."""

    def __init__(self, answers: FewAnswers, settings: Settings) -> None:
        self.answers = answers
        self.heard = Heard()
        self.events = LastEvents()
        self.left: set[str] = set()
        self._settings = settings
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._thread = asyncio.create_task(asyncio.to_thread(asyncio.run, self._watch()))

    async def _watch(self) -> None:
        stop, leases = asyncio.Event(), cast("Leases", self.heard)

        def started() -> None:
            self._stop = asyncio.get_running_loop(), stop

        async with Api() as api:
            worklist = cast("Worklist", self.heard)
            await watch.watch(api, self._settings, worklist, self.events, leases, stop, started=started)
            await asyncio.sleep(0)  # whoever was cancelled ends
            self.left = {task.get_name() for task in asyncio.all_tasks()}

    async def end(self) -> None:
        await until(lambda: self._stop or self._thread.done())
        if self._stop is not None and not self._thread.done():
            loop, stop = self._stop
            loop.call_soon_threadsafe(stop.set)
        await self._thread

    def tell(self, plural: str, change: str, **metadata: Any) -> None:
        shown = {"metadata": {"namespace": "shop", "name": "ring", "uid": "1", "generation": 1, **metadata}}
        self.answers.events[plural].put_nowait({"type": change, "object": shown})

    async def said(self, *what: tuple[str, Key]) -> None:
        await until(lambda: len(self.heard.said) >= len(what))
        assert self.heard.said == list(what)
        self.heard.said.clear()

    async def asked(self, plural: str) -> dict[str, str]:
        """The query of the watch of that kind."""
        path = f"/{plural}?watch"
        found = await until(lambda: [one for one in self.answers.paths if path in one])
        return {name: values[0] for name, values in parse_qs(urlsplit(cast("list[str]", found)[0]).query).items()}


Start = Callable[[Settings], Watches]


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    answers, begun = FewAnswers(), list[Watches]()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    def started(settings: Settings) -> Watches:
        begun.append(Watches(answers, settings))
        return begun[-1]

    async with served(answers, tmp_path):
        yield started
        for one in begun:
            await asyncio.wait_for(one.end(), 10)


async def test_what_happens_to_a_resource_is_heard_by_worklist_and_leases(start: Start) -> None:
    watches = start(HERE)
    watches.tell("keyrings", "ADDED")
    await watches.said(("came", RING), ("wake", RING))
    watches.tell("keyrings", "MODIFIED", resourceVersion="8")  # a status that was written
    await watches.said(("came", RING))
    watches.tell("keyrings", "DELETED")
    # Forgotten before it is woken: what the former looks left doesn't keep the last one waiting.
    await watches.said(("forget", RING), ("gone", RING), ("wake", RING))
    assert watches.events.age(watch.KEY_RING) is not None
    assert watches.events.age(watch.LOGIN) is None


async def test_a_job_wakes_the_migration_that_it_was_made_for_and_nobody_else(start: Start) -> None:
    watches = start(HERE)
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "SchemaMigration", "name": "schema", "controller": True}
    watches.tell("jobs", "MODIFIED", name="of-others")
    watches.tell("jobs", "MODIFIED", name="ours", uid="2", ownerReferences=[owner])
    await watches.said(("wake", MIGRATION))
    assert watches.events.age("Job") is not None


async def test_only_the_lease_that_this_process_renews_shows_that_its_watches_are_alive(start: Start) -> None:
    watches = start(HERE)
    watches.heard.own_lease = False
    watches.tell("leases", "MODIFIED", name="slipway-operator")
    watches.tell("keyrings", "ADDED")  # whose watch is another; the Lease's may be heard later
    await watches.said(("came", RING), ("wake", RING))
    assert watches.events.age("Lease") is None
    watches.heard.own_lease = True
    watches.tell("leases", "MODIFIED", name="slipway-operator")
    await until(lambda: watches.events.age("Lease") is not None)


async def test_watches_are_of_one_lease_and_of_our_jobs_and_end_after_half_an_hour(start: Start) -> None:
    watches = start(HERE)
    assert (await watches.asked("leases"))["fieldSelector"] == "metadata.name=slipway-operator"
    assert (await watches.asked("jobs"))["labelSelector"] == "app.kubernetes.io/managed-by=slipway-operator"
    for plural in ("schemamigrations", "keyrings", "databaselogins", "jobs", "leases"):
        query = await watches.asked(plural)
        assert (query["timeoutSeconds"], query["allowWatchBookmarks"]) == ("1800", "true")
    lists = [one for one in watches.answers.paths if "/namespaces/shop/keyrings?" in one and "watch" not in one]
    assert parse_qs(urlsplit(lists[0]).query)["limit"] == ["100"]


async def test_a_whole_cluster_is_watched_without_naming_a_namespace(start: Start) -> None:
    watches = start(Settings(namespace="ops"))
    await watches.asked("keyrings")
    assert any("GET /apis/slipway.dev/v1alpha1/keyrings?" in one for one in watches.answers.paths)
    assert not any("/namespaces/" in one for one in watches.answers.paths)
    assert (await watches.asked("leases"))["fieldSelector"] == "metadata.name=slipway-operator-cluster"


async def test_further_namespaces_are_watched_beside_the_operators_own(start: Start) -> None:
    watches = start(Settings(namespaces=("shop", "mill"), namespace="shop"))
    await until(lambda: any("/namespaces/mill/keyrings?watch" in one for one in watches.answers.paths))
    assert (await watches.asked("keyrings"))["timeoutSeconds"] == "1800"


async def test_watches_end_when_told_to_and_leave_nothing_running(start: Start) -> None:
    watches = start(Settings(namespaces=("shop", "mill"), namespace="shop"))
    await watches.asked("leases")
    await watches.end()
    assert "namespaces" not in watches.left
