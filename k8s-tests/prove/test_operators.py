"""Two operators at one namespace: whatever the one at work is stopped in, one works, and nobody notices but its log.

Each test begins where the one before it ended. The short one is in k8s-tests/test_rotations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from load.verdict import nothing_failed
from operated.instead import taken_over
from operated.resource import OPERATOR
from rotating.stopped import stopping_operator
from rotating.world import VALIDATOR_CACHE, World, world_at_work, world_opened

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(420)

STOPPED, TAKEN_OVER_WITHIN, BESIDE = 30.0, 20.0, 120.0
"""Seconds."""
OVERFLOWING = 60.0
"""Requests a second, for which a pool opens connections all the time."""
SAID = (" signs.", "has the login of", "that nobody knows", "are as they should be", "is made.")
"""How the operator's log tells of each change."""


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_at_work(cluster, service_image, line_writer(pytestconfig)) as opened:
        yield opened


def rotated_ring(world: World) -> Callable[[], object]:
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    nonce = world.ring.rotate()
    return lambda: world.ring.handled(nonce, within=90)


def rotated_login(world: World) -> Callable[[], object]:
    nonce = world.login.rotate()
    return lambda: world.login.handled(nonce, within=90)


def rotated_login_twice(world: World) -> Callable[[], object]:
    """The role that steps down first, and whose password then dies, is the one in use again at the end."""
    done = rotated_login(world)

    def both() -> None:
        done()
        rotated_login(world)()

    return both


def mended_roles(world: World) -> Callable[[], object]:
    limit = world.login.read()["spec"].get("connectionLimit", 50) + 1
    world.login.patch({"connectionLimit": limit})
    return world.login.become_ready


CHANGES = {
    "keyring-secret": rotated_ring,
    "login-hand-over": rotated_login,
    "login-secret": rotated_login,
    "login-scramble": rotated_login_twice,
    "login-prepare": mended_roles,
}


@pytest.mark.parametrize("change", CHANGES)
def test_stopped_before_a_change_it_makes_none_and_another_does(world: World, change: str) -> None:
    with stopping_operator(world, change) as stopping, world.load() as running:
        done = CHANGES[change](world)
        begun = stopping.stopped()
        taken_over(world)
        took = monotonic() - begun
        done()
        running.carry_on(max(0.0, begun + STOPPED - monotonic()))
        stopping.go_on()
        log = stopping.ended()
        running.carry_on(5)
        outcome = world.judged(f"{change}: stopped for {STOPPED:g} s, taken over after {took:.1f} s", running.finish())
    nothing_failed(outcome)
    assert took <= TAKEN_OVER_WITHIN
    assert "stopping: ended with 1" in log
    assert changes(log) == []
    world.ring.become_ready()
    world.login.become_ready()


def changes(log: str) -> list[str]:
    """What it says that it changed after it went on."""
    _, stop, after = log.partition("stopping: goes on")
    assert stop
    return [line for line in after.splitlines() if any(said in line for said in SAID)]


def test_without_lease_and_terms_it_scrambles_the_role_in_use_once_it_goes_on(world: World) -> None:
    """The control: neither what its Lease leaves it is looked at, nor the terms that the roles know of."""
    with stopping_operator(world, "login-scramble", "fences") as stopping, world.load(rate=OVERFLOWING) as running:
        before, done = world.login.role(), rotated_login_twice(world)
        stopping.stopped()
        taken_over(world)
        done()
        assert world.login.role() == before
        stopping.go_on()
        log = stopping.instead.says(f"Role {before} has a password that nobody knows.")
        running.carry_on(20)
        outcome = world.judged("control: neither Lease nor terms", running.finish())
    assert changes(log)
    assert outcome.failed > 0
    mended_roles(world)()  # nothing else would have it looked at for minutes
    assert world.login.status()["history"][0]["cause"] == "Healed"


def test_stopped_before_a_job_it_makes_none_twice(world: World, release: Callable[[Release], str]) -> None:
    before = len(world.migration.jobs("expand"))
    with stopping_operator(world, "migration-job") as stopping, world.load() as running:
        world.upgrade(release("expanded"), wait=False)
        begun = stopping.stopped()
        taken_over(world)
        world.migration.become_ready(150)
        running.carry_on(max(0.0, begun + STOPPED - monotonic()))
        stopping.go_on()
        log = stopping.ended()
        outcome = world.judged("migration-job", running.finish())
    nothing_failed(outcome)
    assert "stopping: ended with 1" in log
    assert changes(log) == []
    assert len(world.migration.jobs("expand")) == before + 1


def test_two_operators_for_two_minutes_are_as_good_as_one(world: World) -> None:
    world.operator_scaled(2)
    at_work, lease = world.operator_at_work(), _lease(world)
    with world.load() as running:
        end, rotations = monotonic() + BESIDE, 0
        while monotonic() < end:
            rotated_login(world)()
            rotated_ring(world)()
            rotations += 1
        outcome = world.judged(f"two operators, {rotations} rotations of each", running.finish())
    nothing_failed(outcome)
    assert rotations > 1
    assert (world.operator_at_work(), _lease(world)["leaseTransitions"]) == (at_work, lease["leaseTransitions"])
    world.operator_scaled(1)
    taken_over(world)


def _lease(world: World) -> dict[str, Any]:
    spec: dict[str, Any] = world.cluster.kubectl.json("get", "lease", OPERATOR, world.scope)["spec"]
    return spec


def test_one_for_the_whole_cluster_leaves_the_namespace_of_another_alone_and_takes_it_over_when_that_is_gone(
    world: World, cluster: Cluster, service_image: str, pytestconfig: pytest.Config
) -> None:
    base = {"operator": {"scope": "cluster"}}
    with world_opened(cluster, service_image, line_writer(pytestconfig), base) as wide:
        wide.upgrade(service_image)
        wide.ring.become_ready()
        (pod,) = wide.operator_pods()
        told = f"ServedByOther: namespace {world.namespace}"
        seen(lambda: told in cluster.kubectl.run("logs", pod, wide.scope), 30, told)
        with world.load() as running:
            rotated_login(world)()
            assert world.operator_at_work() in world.operator_pods()
            world.operator_scaled(0)
            begun = monotonic()
            seen(lambda: world.operator_at_work() == pod, 40, "the takeover")
            took = monotonic() - begun
            rotated_login(world)()
            outcome = world.judged(f"a namespace given to the cluster's operator after {took:.1f} s", running.finish())
        nothing_failed(outcome)
        assert took <= TAKEN_OVER_WITHIN
    world.operator_scaled(1)
    taken_over(world, 90)
