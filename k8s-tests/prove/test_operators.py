"""Two operators at one namespace: whatever the one at work is stopped in, one works, and nobody notices but its log.

Each test begins where the one before it ended. The short one is in k8s-tests/test_rotations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from cluster.model import Cluster
from load.reporting import line_writer
from load.verdict import nothing_failed
from rotating.stopped import stopping_operator, taken_over
from rotating.world import VALIDATOR_CACHE, World, world_opened

pytestmark = pytest.mark.timeout(420)

STOPPED, TAKEN_OVER_WITHIN = 30.0, 20.0
"""Seconds."""
SAID = (" signs.", "has the login of", "that nobody knows", "are as they should be", "is made.")
"""How the operator's log tells of each change."""


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        opened.ring.become_ready()
        opened.login.become_ready()
        yield opened


def rotated_ring(world: World) -> Callable[[], object]:
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    nonce = world.ring.rotate()
    return lambda: world.ring.handled(nonce, within=90)


def rotated_login(world: World) -> Callable[[], object]:
    nonce = world.login.rotate()
    return lambda: world.login.handled(nonce, within=90)


def mended_roles(world: World) -> Callable[[], object]:
    limit = world.login.read()["spec"].get("connectionLimit", 50) + 1
    world.login.patch({"connectionLimit": limit})
    return world.login.become_ready


CHANGES = {
    "keyring-secret": rotated_ring,
    "login-hand-over": rotated_login,
    "login-secret": rotated_login,
    "login-scramble": rotated_login,
    "login-prepare": mended_roles,
}


@pytest.mark.parametrize("change", CHANGES)
def test_stopped_before_a_change_it_makes_none_and_another_does(world: World, change: str) -> None:
    with stopping_operator(world, change, STOPPED) as stopping, world.load() as running:
        done = CHANGES[change](world)
        stopping.stopped()
        begun = monotonic()
        taken_over(world)
        took = monotonic() - begun
        done()
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
