"""An operator with a slow clock rotates, and moves to a node with a right one: no key leaves before its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pytest

from cluster.model import Cluster
from load.installed import PATIENT
from load.looking import seen
from load.reporting import line_writer
from load.verdict import nothing_failed
from operated.instead import operator_instead, taken_over
from operated.unguarded import BEHIND
from rotating.traffic import RotatingOutcome
from rotating.world import LEEWAY, RING, SHORT, VALIDATOR_CACHE, World, world_opened

pytestmark = pytest.mark.timeout(420)

TOKEN_LIFETIME = 30
"""Seconds: shorter than the clock is behind, and longer than a move takes."""
TOLD = "ClockSkewed"


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    environment = {**PATIENT, **SHORT, "SLIPWAY_ACCESS_TOKEN_TTL": str(TOKEN_LIFETIME)}
    base = {
        "keyRing": {**RING, "tokenLifetime": f"{TOKEN_LIFETIME}s"},
        "extraEnv": [{"name": name, "value": value} for name, value in environment.items()],
    }
    with world_opened(cluster, service_image, line_writer(pytestconfig), base) as opened:
        opened.upgrade(service_image)
        opened.ring.become_ready()
        yield opened


@dataclass(frozen=True)
class Moved:
    """What the ring told of the clock before; `kept`: seconds for which the old key stayed after its last use."""

    told: str
    kept: float
    outcome: RotatingOutcome


def rotated_and_moved(world: World, scenario: str, *off: str) -> Moved:
    with operator_instead(world, "right-clock", *off) as slow, world.load() as running:
        # It stands by, on a right clock.
        world.operator_scaled(1)
        world.ring.ripe_reserve(VALIDATOR_CACHE)
        old = world.ring.signing()
        world.ring.handled(world.ring.rotate(), within=90)
        begun = monotonic()
        seen(lambda: world.ring.retires(old), 30, lambda: f"an end of {old}, but {world.ring.told()}")
        told = world.ring.condition(TOLD)["reason"]
        slow.terminate()
        taken_over(world)
        world.ring.without(old, within=90)
        kept = monotonic() - begun
        outcome = world.judged(f"{scenario}: {BEHIND:g} s behind, key kept for {kept:.0f} s", running.finish())
    return Moved(told, kept, outcome)


def test_an_operator_with_a_slow_clock_that_moves_to_a_right_one_retires_no_key_before_its_time(world: World) -> None:
    moved = rotated_and_moved(world, "operator moves")
    nothing_failed(moved.outcome)
    assert moved.kept >= TOKEN_LIFETIME + LEEWAY
    assert moved.told == "NodeClockDiffers"
    assert (world.ring.condition(TOLD)["status"], world.ring.condition(TOLD)["reason"]) == ("False", "ClocksAgree")


def test_by_its_own_clock_it_would_retire_a_key_whose_tokens_live(world: World) -> None:
    """The control. That its pods seem to be ahead of it would make up for it, so that counts for nothing either."""
    moved = rotated_and_moved(world, "control: times by the node's clock", "server-clock", "pods-clocks")
    assert moved.kept < TOKEN_LIFETIME
    assert moved.outcome.tokens_refused_wrongly > 0
