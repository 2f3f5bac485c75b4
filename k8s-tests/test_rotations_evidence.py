"""Nothing seen proves nothing, and a pod is all its processes. Goes on with the release of test_rotations.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from load.looking import seen
from operated.instead import operator_instead
from operated.lost import GHOST
from rotating import lost
from rotating.stray import MISTYPED, NAME, ROLES, Stray, strayed
from rotating.users_of_keys import HTTPS, MESHED, unaskable, workers
from rotating.world import VALIDATOR_CACHE, World

pytest_plugins = ["rotating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]


@pytest.fixture(scope="module")
def stray(world: World) -> Iterator[Stray]:
    with strayed(world) as found:
        yield found


def test_a_mistyped_selector_hides_no_pod_that_uses_the_keys(world: World) -> None:
    world.ring.patch({"consumers": {"selector": MISTYPED}})
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    world.ring.handled(world.ring.rotate())
    world.note_secrets()
    counted = world.ring.status()["consumers"]
    world.ring.patch({"consumers": {"selector": {"matchLabels": {"app": None}}}})
    assert counted["running"] == counted["confirmed"] == 3, "two of the API and the worker"


def test_a_pod_of_a_lost_node_keeps_keys_and_login_waiting_and_the_ways_out_are_told(
    world: World,
    service_image: str,
    own_api_server: None,  # noqa: ARG001 - a node without a kubelet isn't everybody's
) -> None:
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    before = world.ring.signing(), world.login.role()
    with lost.lost_consumer(world, service_image):
        nonces = world.ring.rotate(), world.login.rotate()
        told = [each.shows("NodeLost", "Stalled") for each in (world.ring, world.login)]
        assert (world.ring.signing(), world.login.role()) == before
    for message in told:
        for part in (lost.NAME, f"node {GHOST}", f"kubectl delete node {GHOST}", f"taint nodes {GHOST}"):
            assert part in message
    world.ring.handled(nonces[0])
    world.login.handled(nonces[1])
    world.note_secrets()


def test_of_secrets_that_nothing_refers_to_the_first_content_is_made_and_no_more(stray: Stray) -> None:
    assert "Nothing in this namespace refers to the Secret stray-keys" in stray.ring.shows("NoConsumers", "Ready")
    assert "Nothing in this namespace refers to the Secret stray-login" in stray.login.shows("NoConsumers", "Ready")
    keys, passwords = stray.keys(), stray.passwords()
    stray.ring.rotate()
    stray.login.rotate()
    stray.ring.shows("NoConsumers", "Stalled")
    stray.login.shows("NoConsumers", "Stalled")
    assert (stray.keys(), stray.passwords()) == (keys, passwords)
    assert [one.get("result") for one in stray.ring.status()["history"]] == [None]


def test_an_operator_that_takes_nothing_seen_for_all_rotates_and_scrambles(stray: Stray) -> None:
    """The control: the same wishes, of the very resources of the test before."""
    keys, passwords = stray.keys(), dict(stray.passwords())
    with operator_instead(stray.world, "references"):
        wished = stray.ring.read()["spec"]["rotateNonce"]
        done = stray.ring.handled(wished)
        seen(lambda: all(dict(stray.passwords())[role] != passwords[role] for role in ROLES), 30, stray.login.told)
    stray.world.say(f"control: 0 pods seen, {done['result']} after {done['took']}, both roles' passwords changed")
    assert stray.keys()["signing"] != keys["signing"]
    assert stray.ring.status()["consumers"]["running"] == 0


def test_a_pod_of_three_workers_follows_once_each_of_them_does(stray: Stray, service_image: str) -> None:
    """They are asked over HTTPS, at a port that has a name."""
    ring = stray.ring
    with workers(stray, service_image) as pod:
        ring.patch({"consumers": {**HTTPS, "serverName": "others.example"}})
        refused = [{"pod": NAME, "reason": "CertificateRefused"}]
        seen(lambda: ring.status()["consumers"].get("lagging") == refused, 30, ring.told)
        ring.patch({"consumers": HTTPS})
        ring.ripe_reserve(VALIDATOR_CACHE)
        with pod.having("late"):
            nonce = ring.rotate()
            ring.shows("ConsumersLagging", saying=f"{NAME} (SignsWithOther)")
            assert ring.status()["handledNonce"] == nonce
            assert ring.status()["history"][0].get("result") is None
        done = ring.handled(nonce)
        stray.world.say(f"three workers, one of them late: {done['result']} after {done['took']}")
        ring.ripe_reserve(VALIDATOR_CACHE)
        with unaskable(stray, service_image):
            keys, nonce = stray.keys(), ring.rotate()
            told = ring.shows("ConsumersLagging", saying=f"{MESHED} (MeshRefuses)")
            assert "(JobRuns: since 20" in told
            assert 'traffic.sidecar.istio.io/excludeInboundPorts: "9090"' in told
            assert stray.keys() == keys
        ring.handled(nonce)  # the control: it was they who held it up
        # The control of the processes: who doesn't tell of the others is taken for the only one.
        ring.ripe_reserve(VALIDATOR_CACHE)
        with pod.having("late", "silent"):
            ring.handled(ring.rotate())
