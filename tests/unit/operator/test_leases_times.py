"""When Leases are renewed, given up and taken over, to the second, and what is told of them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from slipway_operator import telemetry
from slipway_operator.cluster import ApiError, NotServedError, Resource, UnreachableError
from slipway_operator.worklist import Key
from unit.operator.lease_server import LeaseServer
from unit.operator.test_leases import CLUSTER, HOME, OTHER, SHOP, Operator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
FURTHER = ("mill", "slipway-operator")


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


def evenly(operator: Operator, drawn: Callable[[float, float], float] = max) -> Operator:
    """Its pauses are the longest, or the shortest, that may be."""
    operator.leases._jitter = SimpleNamespace(uniform=drawn)  # type: ignore[assignment] # noqa: SLF001
    return operator


def metric(name: str, place: tuple[str, str]) -> float | None:
    labels = {"namespace": place[0], "lease": place[1]}
    return telemetry.REGISTRY.get_sample_value(f"slipway_operator_lease_{name}", labels)


def left(operator: Operator, namespace: str) -> float:
    try:
        return round(operator.leases.left(namespace), 3)
    except NotServedError:
        return 0.0


def test_of_the_home_lease_an_effect_may_use_what_is_left_of_fifteen_seconds_but_one_and_begins_in_the_first_ten(
    in_no_time: Run, server: LeaseServer
) -> None:
    async def story() -> list[float]:
        one = await evenly(Operator(server, SHOP)).start()
        await one.kill()
        found = [left(one, "shop")]
        for pause in (9.75, 0.25):
            await asyncio.sleep(pause)
            found.append(left(one, "shop"))
        return found

    assert in_no_time(story()) == [14.0, 4.25, 0.0]


def test_of_a_further_lease_it_is_a_minute_and_forty_seconds_while_home_is_held(
    in_no_time: Run, server: LeaseServer
) -> None:
    async def story() -> list[float]:
        one = await evenly(Operator(server, CLUSTER)).start()
        one.leases.came(OTHER)
        await asyncio.sleep(0)
        lease = one.leases._of("mill")  # noqa: SLF001 - beside home's, which is shorter
        await asyncio.sleep(0.001)
        one.api.cut_off = True
        found = [round(lease.left(), 2)]
        for pause in (39.75, 0.25):
            await asyncio.sleep(pause)
            found.append(round(lease.left(), 2))
        return found

    assert in_no_time(story()) == [59.0, 19.25, 0.0]


@pytest.mark.parametrize(("drawn", "home", "further"), [(min, 1.6, 12.0), (max, 2.4, 18.0)])
def test_home_is_renewed_every_two_seconds_and_a_further_one_every_fifteen_with_a_fifth_of_jitter(
    in_no_time: Run, server: LeaseServer, drawn: Callable[[float, float], float], home: float, further: float
) -> None:
    async def story() -> dict[str, list[float]]:
        one = evenly(Operator(server, CLUSTER), drawn)
        at: dict[str, list[float]] = {"ops": [], "mill": []}
        real = one.api.replace

        async def replace(
            resource: Resource, namespace: str, body: dict[str, Any], *, seconds: float
        ) -> dict[str, Any]:
            at[namespace].append(asyncio.get_running_loop().time())
            assert seconds == 5  # so that several fit into the ten that it may take
            return await real(resource, namespace, body, seconds=seconds)

        one.api.replace = replace  # type: ignore[method-assign]
        await one.start()
        one.leases.came(OTHER)
        await asyncio.sleep(100)
        return at

    found = in_no_time(story())
    for place, pause in (("ops", home), ("mill", further)):
        assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(found[place])} == {pause}


def test_a_challenger_has_it_the_moment_that_its_holder_was_silent_for_fifteen_seconds(
    in_no_time: Run, server: LeaseServer
) -> None:
    async def story() -> float:
        first = await evenly(Operator(server, SHOP)).start()
        await first.kill()
        began = asyncio.get_running_loop().time()
        await evenly(Operator(server, SHOP)).start()
        return asyncio.get_running_loop().time() - began

    assert in_no_time(story()) == pytest.approx(15.0, abs=0.2)


def test_what_is_held_is_told_as_metrics(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        one = Operator(server, CLUSTER)
        assert (metric("held", HOME), metric("renewal_age_seconds", HOME)) == (0, 0)
        await evenly(one).start()
        one.leases.came(OTHER)
        await asyncio.sleep(0.5)
        for place in (HOME, FURTHER):
            assert (metric("held", place), metric("transitions", place)) == (1, 0)
            assert metric("renewal_age_seconds", place) == pytest.approx(0.5)
        one.api.cut_off = True
        await asyncio.sleep(9.4)
        assert metric("held", HOME) == 1
        await asyncio.sleep(0.1)
        assert metric("held", HOME) == 0

    in_no_time(story())


def test_a_lease_that_changed_hands_is_told_as_a_metric(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> None:
        first = await Operator(server, SHOP).start()
        await first.stop()
        await Operator(server, SHOP).start()
        assert metric("transitions", ("shop", "slipway-operator")) == 1

    in_no_time(story())


def test_what_it_waits_for_is_told_once_and_that_it_holds_the_lease_at_last(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> str:
        two = Operator(server, SHOP)
        two.api.cut_off = True
        starting = asyncio.create_task(two.start())
        await asyncio.sleep(20)
        two.api.cut_off = False
        await starting
        assert two.told == [("the Lease slipway-operator in shop: cut off", False)] * len(two.told)
        return two.leases.identity

    with caplog.at_level(logging.INFO, "slipway_operator.leases"):
        identity = in_no_time(story())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The operator waits for the Lease slipway-operator in shop: cut off."),
        ("INFO", f"Holds the Lease slipway-operator in shop as {identity}."),
    ]


def test_a_renewal_that_fails_is_told_once_for_each_reason_and_anew_after_one_that_went_well(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        one = await evenly(Operator(server, SHOP)).start()
        for away in (True, False, True):
            one.api.cut_off = away
            await asyncio.sleep(6)

    in_no_time(story())
    said = "The Lease slipway-operator in shop can't be renewed: cut off"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [said, said]


def test_one_that_cannot_be_given_back_is_told_and_keeps_no_other_from_it(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        one = await Operator(server, CLUSTER).start()
        for key in (OTHER, Key("KeyRing", "shop", "ring")):
            one.leases.came(key)
        await asyncio.sleep(0.1)
        real = one.api.replace

        async def replace(
            resource: Resource, namespace: str, body: dict[str, Any], *, seconds: float
        ) -> dict[str, Any]:
            if namespace == "mill":
                raise UnreachableError(0, "Unreachable", "cut off")
            return await real(resource, namespace, body, seconds=seconds)

        one.api.replace = replace  # type: ignore[method-assign]
        await one.stop()

    in_no_time(story())
    assert [record.getMessage() for record in caplog.records if "given back" in record.getMessage()] == [
        "A Lease couldn't be given back: cut off"
    ]
    holders = {place: lease["spec"]["holderIdentity"] for place, lease in server.leases.items()}
    assert (holders[HOME], holders["shop", "slipway-operator"]) == ("", "")
    assert holders[FURTHER] != ""


def test_home_is_given_back_after_all_others(in_no_time: Run, server: LeaseServer) -> None:
    async def story() -> list[str]:
        one = await Operator(server, CLUSTER).start()
        one.leases.came(OTHER)
        await asyncio.sleep(0.1)
        order: list[str] = []
        real = one.api.replace

        async def replace(
            resource: Resource, namespace: str, body: dict[str, Any], *, seconds: float
        ) -> dict[str, Any]:
            await asyncio.sleep(1 if namespace == "mill" else 0)
            order.append(namespace)
            return await real(resource, namespace, body, seconds=seconds)

        one.api.replace = replace  # type: ignore[method-assign]
        await one.stop()
        return order

    assert in_no_time(story()) == ["mill", "ops"]


def test_a_further_lease_that_cannot_be_written_is_tried_again_without_end(
    in_no_time: Run, server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> bool:
        one = await evenly(Operator(server, CLUSTER)).start()
        real = one.api.claim

        async def refuse(*_: Any, **__: Any) -> dict[str, Any]:
            raise ApiError(500, "InternalError", "out of order")

        one.api.claim = refuse  # type: ignore[method-assign]
        one.leases.came(OTHER)
        await asyncio.sleep(60)
        assert not one.leases.serves("mill")
        one.api.claim = real  # type: ignore[method-assign]
        await asyncio.sleep(18.1)
        return one.leases.serves("mill")

    assert in_no_time(story())
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "The Lease slipway-operator in mill can't be written: out of order",
        "Namespace mill is looked after.",
    ]
