"""Whose times a key ring's status holds: the API server's, or a former release's, with which each wait begins anew."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from slipway_operator.clock import ServerClock
from slipway_operator.cluster import ForbiddenError
from slipway_operator.evidence.asking import open_http
from slipway_operator.keyrings.reconcile import KeyRings
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.times import seconds
from unit.operator import test_keyring_reconcile as rings_seen
from unit.operator.keyring_objects import SECRET, Cluster
from unit.operator.test_keyring_reconcile import KEY, Clock, condition, settle

cluster, clock, rings = rings_seen.cluster, rings_seen.clock, rings_seen.rings


def as_of_a_former_release(cluster: Cluster) -> None:
    conditions = cluster.ring["status"]["conditions"]
    cluster.ring["status"]["conditions"] = [one for one in conditions if one["type"] != "ClockSkewed"]


def published(cluster: Cluster) -> dict[str, Any]:
    return next(key for key in cluster.ring["status"]["keys"] if key["state"] == "Published")


async def ripened(rings: KeyRings, clock: Clock) -> None:
    await settle(rings)
    for _ in range(3):
        clock.now += 601
        await settle(rings)


async def test_a_status_says_whose_times_it_holds(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)
    assert condition(cluster, "ClockSkewed")["status"] == "False"


async def test_by_the_next_process_of_the_same_release_no_wait_begins_anew(
    rings: KeyRings, cluster: Cluster, clock: Clock
) -> None:
    await ripened(rings, clock)
    before = published(cluster)
    async with open_http() as http:
        await settle(KeyRings(cluster, http, NamedSecrets(cluster), clock))
    assert published(cluster) == before


@pytest.mark.parametrize("ahead", [3600, -3600])
async def test_where_the_server_s_clock_was_set_while_no_operator_looked_each_wait_begins_anew(
    rings: KeyRings, cluster: Cluster, clock: Clock, ahead: int
) -> None:
    await ripened(rings, clock)
    cluster.clock = ServerClock(own=clock)
    cluster.clock.heard(formatdate(clock.now + ahead, usegmt=True), cluster.clock.began())
    async with open_http() as http:
        await settle(KeyRings(cluster, http, NamedSecrets(cluster), clock))
    assert seconds(published(cluster)["since"]) == clock.now


async def test_after_an_upgrade_a_reserve_is_confirmed_anew_once_and_then_rotates_as_ever(
    rings: KeyRings, cluster: Cluster, clock: Clock
) -> None:
    await ripened(rings, clock)
    signing = cluster.ring["status"]["signing"]
    as_of_a_former_release(cluster)
    cluster.ring["spec"]["rotateNonce"] = "after"
    async with open_http() as http:
        heir = KeyRings(cluster, http, NamedSecrets(cluster), clock)
        await settle(heir)
        assert seconds(published(cluster)["since"]) == clock.now
        assert cluster.ring["status"]["signing"] == signing
        for _ in range(3):
            clock.now += 601
            await settle(heir)
    assert cluster.ring["status"]["signing"] != signing


async def test_a_refusal_in_the_first_look_after_an_upgrade_makes_no_time_reliable(
    rings: KeyRings, cluster: Cluster, clock: Clock
) -> None:
    await ripened(rings, clock)
    as_of_a_former_release(cluster)
    cluster.faults["get secrets"] = ForbiddenError(403, "Forbidden", "no rights")
    async with open_http() as http:
        heir = KeyRings(cluster, http, NamedSecrets(cluster), clock)
        with pytest.raises(ForbiddenError):
            await heir.reconcile(KEY)
        assert condition(cluster)["reason"] == "ClusterRefuses"
        assert condition(cluster, "ClockSkewed") == {}
        cluster.faults.clear()
        await settle(heir)
    assert seconds(published(cluster)["since"]) == clock.now
    assert condition(cluster, "ClockSkewed")["status"] == "False"


async def test_a_key_that_a_former_operator_retired_by_a_fast_clock_is_no_lost_one(
    rings: KeyRings, cluster: Cluster, clock: Clock
) -> None:
    await ripened(rings, clock)
    old = cluster.ring["status"]["signing"]
    cluster.ring["spec"]["rotateNonce"] = "after"
    await settle(rings)
    for _ in range(2):
        clock.now += 200
        await settle(rings)
    (retiring,) = [key for key in cluster.ring["status"]["keys"] if key["state"] == "Retiring"]
    assert (retiring["id"], seconds(retiring["retireAfter"]) > clock.now) == (old, True)
    fast = Clock()
    fast.now = clock.now + 3600
    async with open_http() as http:
        # It dies after the Secret was written, and before it could say so.
        before = dict(cluster.ring["status"])
        await KeyRings(cluster, http, NamedSecrets(cluster), fast).reconcile(KEY)
        cluster.ring["status"] = before
        as_of_a_former_release(cluster)
        heir = KeyRings(cluster, http, NamedSecrets(cluster), clock)
        await settle(heir)
    assert condition(cluster)["status"] == "True"
    assert old not in {key["id"] for key in cluster.ring["status"]["keys"]}
    assert ("secrets", SECRET) in cluster.objects


async def test_a_node_whose_clock_differs_is_told_in_the_status(cluster: Cluster) -> None:
    class Off(Cluster):
        clock = ServerClock(monotonic=lambda: 0.0, own=lambda: 1000.0)

    off = Off()
    off.objects = cluster.objects
    off.clock.heard("Thu, 01 Jan 1970 00:00:10 GMT", 0.0)
    async with open_http() as http:
        await settle(KeyRings(off, http, NamedSecrets(off)))
    found = condition(off, "ClockSkewed")
    assert (found["status"], found["reason"]) == ("True", "NodeClockDiffers")
