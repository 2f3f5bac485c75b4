"""A ring that begins with somebody's own keys, and one whose pods aren't asked. Writes a table in docs/rotations.md."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from load.table import Row, write
from load.verdict import nothing_failed
from operated.resource import of_kind
from rotating import by_hand, material
from rotating.world import RING, VALIDATOR_CACHE, World, world_opened

pytestmark = pytest.mark.timeout(900)

TABLE = Path(__file__).parents[2] / "docs" / "rotations.md"
TAKEN_OVER, BY_TIME = "Own keys taken over, then rotated", "Two rotations with `evidence: Time`"
BROUGHT = "own-keys"
PROPAGATION = 120
"""Seconds, the chart's default: waited for in whole where no pod is asked."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Only all scenarios together make the document's table."""
    measured: list[Row] = []
    yield measured
    if {row.scenario for row in measured} == {TAKEN_OVER, BY_TIME}:
        write(TABLE, measured, "brought")


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    """It signs with a key that somebody made, in a Secret that nobody rotates."""
    with world_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        key = by_hand.fresh_key()
        opened.restore(secret_of(BROUGHT, keys=[key], signing=key["kid"]))
        opened.upgrade(service_image, signingKeys={"existingSecret": BROUGHT})
        yield opened


def secret_of(name: str, *, keys: list[dict[str, Any]], signing: str) -> dict[str, Any]:
    held = {"jwks.json": json.dumps({"keys": keys}).encode(), "signing": signing.encode()}
    encoded = {entry: base64.b64encode(content).decode() for entry, content in held.items()}
    return {"metadata": {"name": name}, "type": "Opaque", "data": encoded}


def test_keys_that_somebody_brought_go_on_in_a_ring_and_no_token_is_refused(
    world: World, rows: list[Row], service_image: str
) -> None:
    keys = by_hand.keys_in(world.secret(BROUGHT))
    (brought,) = (key["kid"] for key in keys)
    assert {told["signing"] for told in world.keys_of_pods().values()} == {brought}
    ring = {**RING, "enabled": True}
    with world.load(seconds=400.0) as running:
        running.carry_on(3)
        world.restore(secret_of(material.RING, keys=keys, signing=brought))
        held = material.data(world.secret(material.RING))
        world.upgrade(service_image, wait=False, keyRing=ring)
        # The control of taking over: the same Secret, and nobody said that it may be.
        world.ring.shows("SecretNotOurs", "Stalled", within=60)
        assert material.data(world.secret(material.RING)) == held
        world.cluster.kubectl.run("label", "secret", material.RING, world.scope, "slipway.dev/take-over=slipway")
        world.upgrade(service_image, keyRing=ring)
        world.settled(2)
        assert world.ring.signing() == brought
        reserve = world.ring.ripe_reserve(VALIDATOR_CACHE)
        done = world.ring.handled(world.ring.rotate())
        world.ring.without(brought)
        outcome = world.judged(TAKEN_OVER, running.finish(after=5))
    rows.append(Row(TAKEN_OVER, outcome.report["rate"], outcome))
    nothing_failed(outcome)
    assert (done["from"], done["to"]) == (brought, reserve)
    assert world.ring.stages() == {reserve: "Signing", world.ring.ripe_reserve(VALIDATOR_CACHE): "Published"}


def test_rotations_by_time_wait_for_the_kubelets_own_pace(world: World, rows: list[Row], service_image: str) -> None:
    by_time = {**RING, "enabled": True, "evidence": "Time", "propagation": f"{PROPAGATION}s"}
    world.upgrade(service_image, keyRing=by_time)
    seen(lambda: of_kind(world.ring.read(), "Unverified").get("status") == "True", 30, "the mark of the ring")
    signed = [world.ring.signing()]
    with world.load(seconds=800.0) as running:
        for _ in range(2):
            world.ring.ripe_reserve(VALIDATOR_CACHE, within=2.5 * PROPAGATION)
            done = world.ring.handled(world.ring.rotate(), within=1.5 * PROPAGATION, result="Unverified")
            signed.append(done["to"])
        outcome = world.judged(BY_TIME, running.finish(after=5))
    rows.append(Row(BY_TIME, outcome.report["rate"], outcome))
    nothing_failed(outcome)
    assert len(set(signed)) == 3
    assert "consumers" not in world.ring.read()["spec"]
    assert {told["signing"] for told in world.keys_of_pods().values()} == {signed[-1]}
