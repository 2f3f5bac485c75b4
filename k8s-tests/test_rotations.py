"""Keys and passwords change while requests are served, and no request and no token fails.

One release goes through its life, test by test. Beside the load, parties outside that keep the published keys for
`validatorCache` check every token that it obtains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from load.looking import seen
from load.verdict import nothing_failed
from operated.instead import taken_over
from rotating import by_hand, material
from rotating.stopped import stopping_operator
from rotating.traffic import RotatingOutcome
from rotating.world import TOKEN_LIFETIME, VALIDATOR_CACHE, World

pytest_plugins = ["rotating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

PODS = 6
"""What two cores start beside a load within a minute; `make prove` has ten."""
FOLLOWED_WITHIN, REVOKED_WITHIN = 3.0, 5.0
"""Seconds, for ten pods too."""
STOPPED, TAKEN_OVER_WITHIN = 25.0, 20.0
"""Seconds; `make prove` stops it for 30."""
KEEPS_ITS_TOKEN = {"sign_in_every": 6.0, "refresh_every": 6.0}
"""A client that has one token nearly as long as it lives, so that a change meets it with an old one for certain."""


def test_a_rotation_fails_no_request_and_no_token(world: World) -> None:
    with world.load() as running:
        before, reserve = world.ring.signing(), world.ring.ripe_reserve(VALIDATOR_CACHE)
        done = world.ring.handled(world.ring.rotate())
        world.note_secrets()
        world.ring.without(before)
        outcome = world.judged(f"rotation, followed after {done['took']}", running.finish())
    nothing_failed(outcome)
    assert (done["from"], done["to"], done["cause"]) == (before, reserve, "Nonce")
    assert outcome.report["by_kind"]["refresh"]["requests"] > TOKEN_LIFETIME


def test_a_login_rotation_fails_no_request_and_ends_the_old_login(world: World) -> None:
    with world.load(export_every=2) as running:
        before = world.login.role()
        done = world.login.handled(world.login.rotate())
        world.note_secrets()
        outcome = world.judged(f"database login rotation, followed after {done['took']}", running.finish())
    nothing_failed(outcome)
    assert outcome.report["exports_acknowledged"] >= 2
    assert world.login.role() != before
    assert world.sessions_of(before) == 0
    assert world.sessions_of(world.login.role()) > 0


def test_an_operator_that_was_stopped_before_its_change_makes_none_once_another_is_at_work(world: World) -> None:
    with stopping_operator(world, "login-hand-over") as stopping, world.load() as running:
        before, nonce = world.login.role(), world.login.rotate()
        begun = stopping.stopped()
        taken_over(world)
        took = monotonic() - begun
        world.login.handled(nonce)
        world.note_secrets()
        written = world.secret(material.LOGIN)["metadata"]["resourceVersion"]
        running.carry_on(max(0.0, begun + STOPPED - monotonic()))
        stopping.go_on()
        log = stopping.ended()
        running.carry_on(2)
        outcome = world.judged(f"operator stopped for {STOPPED:g} s, taken over after {took:.1f} s", running.finish())
    nothing_failed(outcome)
    assert took <= TAKEN_OVER_WITHIN
    assert "stopping: ended with 1" in log
    assert "wasn't renewed for" in log
    assert world.secret(material.LOGIN)["metadata"]["resourceVersion"] == written
    assert world.login.role() != before
    assert world.login.ready()


def test_both_at_once_with_a_scale_up_in_the_middle_fail_nothing(world: World) -> None:
    with world.load() as running:
        world.ring.ripe_reserve(VALIDATOR_CACHE)
        key, role = world.ring.signing(), world.login.role()
        nonces = world.ring.rotate(), world.login.rotate()
        world.scale(PODS)
        world.ring.handled(nonces[0])
        world.login.handled(nonces[1], within=90)
        world.settled(PODS, within=150)
        world.note_secrets()
        world.ring.without(key)
        outcome = world.judged(f"both at once, 2 → {PODS} pods in the middle", running.finish())
    nothing_failed(outcome)
    world.rotated = True
    assert world.login.role() != role
    assert {told["signing"] for told in world.keys_of_pods().values()} == {world.ring.signing()}


def test_a_revoked_key_is_gone_from_every_pod_within_five_seconds(world: World) -> None:
    revoked, reserve = world.ring.signing(), world.ring.ripe_reserve(VALIDATOR_CACHE)
    with world.load(**KEEPS_ITS_TOKEN) as running:
        begun = monotonic()
        world.ring.patch({"revoke": [revoked]})
        status = seen(
            lambda: world.ring.revoked_everywhere(revoked), 30, lambda: f"the revocation, but {world.ring.told()}"
        )
        took = monotonic() - begun
        world.note_secrets()
        assert {revoked} & {key for told in world.keys_of_pods().values() for key in told["keys"]} == set()
        outcome = world.judged(f"revocation, {took:.1f} s for {PODS} pods", running.finish(), revoked)
    nothing_failed(outcome)
    assert took <= REVOKED_WITHIN
    assert outcome.unauthorized_by_revocation > 0, "no token of the key was in use: the revocation proved nothing"
    assert world.ring.signing() == reserve
    assert status["consumers"]["confirmed"] == status["consumers"]["running"] == PODS + 1  # the worker too


def test_all_pods_follow_a_changed_secret_within_three_seconds(world: World) -> None:
    told = [(resource.kind, world.followed(resource)) for resource in (world.ring, world.login)]
    world.note_secrets()
    for kind, took in told:
        world.say(f"{kind}: Secret written → last of {PODS} pods confirms: {took:.2f} s (goal < {FOLLOWED_WITHIN:g} s)")
    world.scale(2)
    assert all(took < FOLLOWED_WITHIN for _, took in told)
    world.settled(2)


@contextmanager
def by_hand_instead(world: World) -> Iterator[None]:
    """The operator stands by; afterwards it mends what was done, and nobody's tokens are wrong any more."""
    world.ring.patch({"suspend": True})
    world.ring.shows("Suspended")
    before = material.data(world.secret(material.RING))
    try:
        yield
    finally:
        world.note_secrets()
        world.ring.patch({"suspend": None})
        material.becomes(world.cluster, world.namespace, material.RING, before, 15)
        by_hand.hurry(world.cluster, world.namespace, *world.settled(2))
        world.ring.become_ready()


def test_a_key_that_is_retired_at_once_fails_requests(world: World) -> None:
    """The control of the overlap: the reserve signs, which all know, and the old key's tokens still live."""
    reserve = world.ring.ripe_reserve(VALIDATOR_CACHE)
    with by_hand_instead(world), world.load(**KEEPS_ITS_TOKEN) as running:
        keys = by_hand.keys_in(world.secret(material.RING))
        kept = [key for key in keys if key["kid"] == reserve]
        by_hand.write_keys(world.cluster, world.namespace, kept, reserve)
        by_hand.hurry(world.cluster, world.namespace, *world.settled(2))
        running.carry_on(4)
        outcome = world.judged("control: overlap 0", running.finish())
    assert outcome.failed > 0
    assert outcome.report["unauthorized"], outcome.failures


def test_a_key_that_signs_before_pods_have_it_fails_requests_and_tokens(world: World) -> None:
    """The control of the evidence: one pod of two has the new Secret, and signs."""
    with by_hand_instead(world), world.load() as running:
        keys, fresh = by_hand.keys_in(world.secret(material.RING)), by_hand.fresh_key()
        by_hand.write_keys(world.cluster, world.namespace, [*keys, fresh], fresh["kid"])
        by_hand.hurry(world.cluster, world.namespace, world.settled(2)[0])
        running.carry_on(4)
        outcome = world.judged("control: signs before pods confirm", running.finish())
    assert_refused(outcome, fresh["kid"])


def assert_refused(outcome: RotatingOutcome, key: str) -> None:
    assert outcome.report["unauthorized"].get(key, 0) > 0, outcome.failures
    assert outcome.tokens_refused_wrongly > 0
    assert outcome.failed > 0


def test_a_login_that_is_locked_before_its_sessions_end_fails_requests(world: World) -> None:
    """The control of the wait for sessions: pods still use the login."""
    role = world.login.role()
    world.login.patch({"suspend": True})
    world.login.shows("Suspended")
    with world.load(timeout=5) as running:
        by_hand.lock_role(world.cluster, world.namespace, role)
        running.carry_on(2)
        by_hand.unlock_role(world.cluster, world.namespace, role)
        outcome = world.judged("control: old login locked too early", running.finish())
    world.login.patch({"suspend": None})
    world.login.become_ready()
    assert outcome.failed > 0
