"""Which namespaces an operator looks after, beside another: in time that passes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from slipway_operator.cluster import ForbiddenError, NotServedError
from slipway_operator.lease import LostError
from slipway_operator.leases import Leases, Served
from slipway_operator.settings import Settings
from slipway_operator.worklist import Key
from unit.operator.lease_server import LeaseApi, LeaseServer, refused

CLUSTER = Settings(namespace="ops", identity="wide")
SHOP = Settings(namespaces=("shop",), namespace="shop", identity="narrow")
RING, OTHER = Key("KeyRing", "shop", "ring"), Key("KeyRing", "mill", "ring")
PLACE, HOME = ("shop", "slipway-operator"), ("ops", "slipway-operator-cluster")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Operator:
    """One process; `woken`: what it is to look at."""

    def __init__(self, server: LeaseServer, settings: Settings) -> None:
        self.api = LeaseApi(server)
        self.leases = Leases(self.api, settings, clock=asyncio.get_running_loop().time)
        self.woken: list[Key] = []
        self.told: list[tuple[str, bool]] = []
        self.keeping: asyncio.Task[None] | None = None

    async def start(self) -> Operator:
        await self.leases.until_held(lambda *said: self.told.append(said))
        self.leases.start(self.woken.append)
        self.keeping = asyncio.create_task(self.leases.keep())
        await asyncio.sleep(0)
        return self

    async def stop(self) -> None:
        await self.kill()
        await self.leases.release()

    async def kill(self) -> None:
        assert self.keeping is not None
        self.keeping.cancel()
        await asyncio.gather(self.keeping, return_exceptions=True)

    def holds(self, place: tuple[str, str] = PLACE) -> bool:
        return bool(self.api.server.leases[place]["spec"]["holderIdentity"] == self.leases.identity)


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


def test_one_at_a_time_is_at_work_and_the_next_within_twenty_seconds_of_a_death(
    in_no_time: Run, server: LeaseServer
) -> None:
    async def story() -> float:
        first = await Operator(server, SHOP).start()
        second = Operator(server, SHOP)
        standing_by = asyncio.create_task(second.start())
        await asyncio.sleep(100)
        assert not standing_by.done()
        assert second.told[-1] == (f"the Lease slipway-operator in shop, which {first.leases.identity} holds", True)
        await first.kill()
        died = asyncio.get_running_loop().time()
        await standing_by
        return asyncio.get_running_loop().time() - died

    assert 12 < in_no_time(story()) < 18


def test_once_keeping_has_ended_nothing_renews_any_more(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> list[str]:
        one, events = await Operator(server, SHOP).start(), list[str]()
        under_way = asyncio.Event()

        async def replace(*_: object, seconds: float) -> None:
            del seconds
            under_way.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)  # a connection is closed
                events.append("renewing ended")

        one.api.replace = replace  # type: ignore[method-assign,assignment]
        await under_way.wait()
        await one.kill()
        return [*events, "keeping ended"]

    assert in_no_time(story()) == ["renewing ended", "keeping ended"]


def test_one_that_ends_well_is_followed_within_three_seconds(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> float:
        first = await Operator(server, SHOP).start()
        standing_by = asyncio.create_task(Operator(server, SHOP).start())
        await asyncio.sleep(30)
        await first.stop()
        began = asyncio.get_running_loop().time()
        await standing_by
        return asyncio.get_running_loop().time() - began

    assert in_no_time(story()) < 3


def test_a_namespace_that_another_looks_after_is_left_alone_until_that_one_is_gone(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        narrow = await Operator(server, SHOP).start()
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        wide.leases.came(OTHER)
        await asyncio.sleep(100)
        assert (narrow.holds(), wide.holds(), wide.holds(("mill", "slipway-operator"))) == (True, False, True)
        assert (wide.leases.serves("shop"), wide.leases.serves("mill"), wide.woken) == (False, True, [OTHER])
        with pytest.raises(NotServedError):
            wide.leases.left("shop")
        assert wide.leases.left("mill") > 0
        await narrow.stop()
        await asyncio.sleep(20)
        assert (wide.holds(), wide.leases.serves("shop"), wide.woken) == (True, True, [OTHER, RING])
        assert wide.leases.term("shop") == 1

    in_no_time(story())
    said = [record.getMessage() for record in caplog.records if "ServedByOther" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("ServedByOther: namespace shop is left alone: narrow_")


def test_a_narrow_operator_waits_for_the_wide_one_that_has_its_namespace(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        await asyncio.sleep(1)
        narrow = asyncio.create_task(Operator(server, SHOP).start())
        await asyncio.sleep(200)
        assert (narrow.done(), wide.holds()) == (False, True)
        wide.leases.gone(RING)
        # The last resource has gone: a minute later the namespace is given back.
        await asyncio.sleep(59)
        assert not narrow.done()
        await asyncio.wait_for(narrow, 25)
        assert not wide.leases.serves("shop")

    in_no_time(story())


def test_its_heir_has_all_namespaces_of_a_wide_operator_that_died_as_soon_as_it_is_at_work(
    in_no_time: Run, server: LeaseServer
) -> None:
    async def story() -> float:
        first = await Operator(server, CLUSTER).start()
        first.leases.came(RING)
        await asyncio.sleep(30)
        await first.kill()
        died = asyncio.get_running_loop().time()
        second = await Operator(server, CLUSTER).start()
        second.leases.came(RING)
        await asyncio.sleep(0.1)
        assert (second.leases.serves("shop"), second.holds()) == (True, True)
        assert second.leases.term("shop") == 1
        return asyncio.get_running_loop().time() - died

    assert in_no_time(story()) < 20


def test_without_its_home_lease_a_wide_operator_changes_nothing_anywhere(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        await asyncio.sleep(1)
        assert wide.leases.left("shop") > 0
        server.force(*HOME, "another")
        assert wide.keeping is not None
        with pytest.raises(LostError, match="taken by another"):
            await wide.keeping
        with pytest.raises(NotServedError):
            wide.leases.left("shop")

    in_no_time(story())


def test_a_further_namespace_that_is_taken_ends_it_too(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        await asyncio.sleep(1)
        server.force(*PLACE, "former-release")
        assert wide.keeping is not None
        with pytest.raises(LostError, match="taken by former-release"):
            await asyncio.wait_for(wide.keeping, 20)

    in_no_time(story())


def test_a_namespace_that_is_deleted_ends_nothing(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        wide.leases.came(OTHER)
        await asyncio.sleep(1)
        server.closing.add("shop")
        del server.leases[PLACE]
        await asyncio.sleep(100)
        assert wide.keeping is not None
        assert not wide.keeping.done()
        assert (wide.leases.serves("shop"), wide.leases.serves("mill")) == (False, True)

    in_no_time(story())


def test_a_namespace_whose_lease_is_refused_is_left_alone_and_that_is_told_once(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        refused(wide.api, ForbiddenError(403, "Forbidden", "leases is forbidden"))
        wide.leases.came(RING)
        await asyncio.sleep(8)
        assert not wide.leases.serves("shop")

    in_no_time(story())
    assert sum("leases is forbidden" in record.getMessage() for record in caplog.records) <= 2


def forbidden(monkeypatch: pytest.MonkeyPatch, api: LeaseApi, namespace: str) -> None:
    real = api.replace

    async def replace(resource: Any, there: str, body: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        if there == namespace:
            raise ForbiddenError(403, "Forbidden", "leases is forbidden")
        return await real(resource, there, body, seconds=seconds)

    monkeypatch.setattr(api, "replace", replace)


def test_a_namespace_that_loses_its_role_ends_nothing_and_is_looked_after_again_when_it_has_one(
    in_no_time: Run, server: LeaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        await asyncio.sleep(1)
        with monkeypatch.context() as patch:
            forbidden(patch, wide.api, "shop")
            await asyncio.sleep(200)
        assert wide.keeping is not None
        assert (wide.keeping.done(), wide.leases.serves("shop")) == (False, False)
        await asyncio.sleep(20)
        assert wide.leases.serves("shop")
        assert wide.woken == [RING, RING]

    in_no_time(story())


def test_if_another_was_there_meanwhile_it_ends_because_what_it_remembers_may_be_wrong(
    in_no_time: Run, server: LeaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        wide = await Operator(server, CLUSTER).start()
        wide.leases.came(RING)
        await asyncio.sleep(1)
        with monkeypatch.context() as patch:
            forbidden(patch, wide.api, "shop")
            await asyncio.sleep(60)
            narrow = await Operator(server, SHOP).start()
            await asyncio.sleep(5)
            await narrow.stop()
        assert wide.keeping is not None
        with pytest.raises(LostError, match="Another operator has looked after shop"):
            await asyncio.wait_for(wide.keeping, 40)

    in_no_time(story())


def test_what_a_hundred_namespaces_cost_is_a_few_calls_a_minute_each(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> float:
        wide = await Operator(server, CLUSTER).start()
        for number in range(100):
            wide.leases.came(Key("KeyRing", f"team-{number}", "ring"))
        await asyncio.sleep(60)
        before = len(wide.api.calls)
        await asyncio.sleep(600)
        return (len(wide.api.calls) - before) / 600

    # The home Lease each two seconds, and one of a hundred further ones each 15 s.
    assert in_no_time(story()) == pytest.approx(0.5 + 100 / 15, rel=0.1)


def test_only_its_own_renewal_of_the_home_lease_counts_as_seen(server: LeaseServer) -> None:
    leases = Leases(LeaseApi(server), SHOP)

    def renewed(holder: str, namespace: str = "shop", name: str = "slipway-operator") -> dict[str, Any]:
        return {"metadata": {"namespace": namespace, "name": name}, "spec": {"holderIdentity": holder}}

    assert leases.is_own(renewed(leases.identity))
    assert not leases.is_own(renewed("narrow"))
    assert not leases.is_own(renewed(leases.identity, namespace="mill"))
    assert not leases.is_own(renewed(leases.identity, name="slipway-operator-cluster"))
    assert not leases.is_own({"metadata": {"namespace": "shop", "name": "slipway-operator"}})


def test_a_process_that_starts_anew_in_the_same_pod_is_another(server: LeaseServer) -> None:
    one, two = Leases(LeaseApi(server), SHOP).identity, Leases(LeaseApi(server), SHOP).identity
    assert one != two
    assert one.startswith("narrow_")


def test_resources_of_others_are_not_looked_at(in_no_time: Run, server: LeaseServer) -> None:
    class Looks:
        def __init__(self) -> None:
            self.keys: list[Key] = []

        async def reconcile(self, key: Key) -> float | None:
            self.keys.append(key)
            return 3.0

    async def story() -> None:
        await Operator(server, SHOP).start()
        wide = await Operator(server, CLUSTER).start()
        for key in (RING, OTHER):
            wide.leases.came(key)
        await asyncio.sleep(1)
        looks = Looks()
        served = Served(looks, wide.leases)
        assert (await served.reconcile(RING), await served.reconcile(OTHER)) == (None, 3.0)
        assert looks.keys == [OTHER]

    in_no_time(story())
