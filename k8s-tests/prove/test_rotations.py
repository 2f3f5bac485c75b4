"""Rotations through faults: what requests and tokens see of them. Writes the table in docs/rotations.md.

Each scenario goes on with one release of the chart where the one before it left it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from cluster.model import Cluster
from load.harness import Outcome
from load.looking import seen
from load.reporting import line_writer
from load.table import Row, write
from load.verdict import nothing_failed
from migrating.outages import api_server_restarted, database_restarted
from rotating import by_hand, material
from rotating.faults import cut_off, nudging_forbidden, pods_unready, session_of
from rotating.traffic import RotatingOutcome
from rotating.world import VALIDATOR_CACHE, World, world_opened

pytestmark = pytest.mark.timeout(900)

TABLE = Path(__file__).parents[2] / "docs" / "rotations.md"
TEN, ALGORITHM = "Ten rotations of keys and logins in a row", "EdDSA → ES256"
KILLS, HEALED = "Operator killed in each state of a rotation", "Keys' Secret deleted, operator up and down"
PACE, CUT_OFF = "Without the right to nudge: the kubelet's own pace", "A pod that the operator can't reach"
API_SERVER, UNREADY = "API server restarted in the middle", "All pods unready at once"
SESSION, DATABASE = "A session of the old login that doesn't end", "PostgreSQL restarted during a login rotation"
SCENARIOS = {TEN, ALGORITHM, KILLS, HEALED, PACE, CUT_OFF, API_SERVER, SESSION, DATABASE}
"""Without UNREADY, where nobody answers requests."""
LOADED = {"seconds": 800.0}
PACE_WITHIN = 180.0
"""Seconds; the kubelet looks every minute or so, and its cache of a Secret may be as old."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Only all scenarios together make the document's table."""
    measured: list[Row] = []
    yield measured
    if {row.scenario for row in measured} == SCENARIOS:
        write(TABLE, measured)


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        yield opened


@pytest.fixture
def steady(world: World) -> World:
    """Ready, with a reserve that may sign at once."""
    world.settled(2)
    world.ring.become_ready()
    world.login.become_ready()
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    return world


def measured(rows: list[Row], world: World, scenario: str, outcome: Outcome, *revoked: str) -> RotatingOutcome:
    judged = world.judged(scenario, outcome, *revoked)
    rows.append(Row(scenario, outcome.report["rate"], judged))
    return judged


def test_ten_rotations_in_a_row(steady: World, rows: list[Row]) -> None:
    signed = [steady.ring.signing()]
    with steady.load(**LOADED) as running:
        for _ in range(10):
            steady.ring.ripe_reserve(VALIDATOR_CACHE)
            asked = steady.ring.rotate(), steady.login.rotate()
            signed.append(steady.ring.handled(asked[0])["to"])
            steady.login.handled(asked[1])
        steady.ring.without(signed[-2])
        outcome = measured(rows, steady, TEN, running.finish(after=5))
    nothing_failed(outcome)
    assert len(set(signed)) == 11
    assert set(steady.ring.stages().values()) == {"Signing", "Published"}


def test_another_algorithm(steady: World, rows: list[Row]) -> None:
    before = steady.ring.signing()
    with steady.load(**LOADED) as running:
        steady.ring.patch({"algorithm": "ES256"})
        seen(lambda: steady.ring.reserve_algorithm() == "ES256", 30, "a reserve of the other algorithm")
        steady.ring.ripe_reserve(VALIDATOR_CACHE)
        steady.ring.handled(steady.ring.rotate())
        steady.ring.without(before)
        outcome = measured(rows, steady, ALGORITHM, running.finish(after=5))
    nothing_failed(outcome)
    steady.ring.patch({"algorithm": None})
    seen(lambda: steady.ring.reserve_algorithm() == "EdDSA", 30, "a reserve of the first algorithm again")


def test_an_operator_killed_in_each_state_goes_on_where_it_was(steady: World, rows: list[Row]) -> None:
    with steady.load(**LOADED) as running:
        revoked = killed_while_a_key_rotates(steady)
        killed_while_a_login_rotates(steady)
        steady.ring.ripe_reserve(VALIDATOR_CACHE)
        steady.ring.patch({"revoke": [revoked]})
        steady.operator_killed()  # revoked, nothing done, or dropped and not yet gone from each pod
        seen(lambda: steady.ring.revoked_everywhere(revoked), 60, lambda: f"the revocation, but {steady.ring.told()}")
        outcome = measured(rows, steady, KILLS, running.finish(after=5), revoked)
    nothing_failed(outcome)
    assert [one["cause"] for one in steady.ring.status()["history"]].count("Healed") == 0


def killed_while_a_key_rotates(world: World) -> str:
    """The key that signs afterwards."""
    key = world.ring.signing()
    asked = world.ring.rotate()
    world.operator_killed()  # asked for, nothing done
    seen(lambda: world.ring.stages().get(key) == "Retiring", 60, "the next key, signing")
    world.operator_killed()  # written, not confirmed
    world.ring.handled(asked)
    world.operator_killed()  # confirmed: the old key retires, and the new reserve isn't ripe
    world.ring.without(key)
    world.operator_killed()  # retired
    return world.ring.signing()


def killed_while_a_login_rotates(world: World) -> None:
    role = world.login.role()
    with session_of(world.cluster, world.namespace, role):
        asked = world.login.rotate()
        world.operator_killed()  # asked for, nothing done
        seen(lambda: world.login.role() != role, 60, "the other role, in use")
        world.operator_killed()  # handed over; pods follow, and sessions of the old role end
        world.login.shows("OldSessionsRemain", "Reconciling")
        world.operator_killed()  # waits for one that stays
    world.operator_killed()  # the old password is to be made unknown
    world.login.handled(asked)


def test_a_deleted_secret_is_back_whether_the_operator_saw_it_or_not(steady: World, rows: list[Row]) -> None:
    backup = steady.secret(material.RING)
    held, uid = material.data(backup), backup["metadata"]["uid"]
    with steady.load(**LOADED) as running:
        steady.cluster.kubectl.run("delete", "secret", material.RING, steady.scope)
        begun = monotonic()
        material.becomes(steady.cluster, steady.namespace, material.RING, held, 15, other=uid)
        steady.say(f"deleted, operator up: as it was after {monotonic() - begun:.1f} s")
        steady.operator_scaled(0)
        steady.cluster.kubectl.run("delete", "secret", material.RING, steady.scope)
        steady.operator_scaled(1)
        # Nobody has the keys any more but the pods' memory, which tells ids only: a person must bring them back.
        message = steady.ring.shows("KeysLost", "Stalled")
        running.carry_on(3)
        steady.restore(backup)
        steady.ring.become_ready()
        outcome = measured(rows, steady, HEALED, running.finish(after=5))
    nothing_failed(outcome)
    assert steady.ring.signing() in message


def test_without_the_right_to_nudge_it_goes_at_the_kubelets_own_pace(steady: World, rows: list[Row]) -> None:
    with steady.load(**LOADED) as running, nudging_forbidden(steady):
        begun = monotonic()
        steady.ring.handled(steady.ring.rotate(), within=PACE_WITHIN)
        steady.say(f"all pods followed after {monotonic() - begun:.0f} s without a nudge")
        outcome = measured(rows, steady, PACE, running.finish(after=5))
    nothing_failed(outcome)


def test_a_pod_that_can_not_be_reached_is_named_and_waited_for(
    own_api_server: None,  # noqa: ARG001 - the operator's network is ours to change
    steady: World,
    rows: list[Row],
) -> None:
    pod = steady.settled(2)[0]
    signing = steady.ring.signing()
    with steady.load(**LOADED) as running:
        with cut_off(steady, pod):
            nonce = steady.ring.rotate()
            message = steady.ring.shows("ConsumersLagging", "Reconciling")
            assert pod in message
            assert [one["pod"] for one in steady.ring.status()["consumers"]["lagging"]] == [pod]
            running.carry_on(5)
            assert steady.ring.signing() == signing
        steady.ring.handled(nonce)
        outcome = measured(rows, steady, CUT_OFF, running.finish(after=5))
    nothing_failed(outcome)


def test_an_api_server_that_restarts_in_the_middle_delays_and_breaks_nothing(
    own_api_server: None,  # noqa: ARG001 - nobody else's API server is ours to restart
    steady: World,
    rows: list[Row],
) -> None:
    with steady.load(**LOADED) as running:
        asked = steady.ring.rotate(), steady.login.rotate()
        api_server_restarted()
        steady.ring.handled(asked[0], within=120)
        steady.login.handled(asked[1], within=120)
        outcome = measured(rows, steady, API_SERVER, running.finish(after=5))
    nothing_failed(outcome)


def test_pods_that_are_all_unready_count_all_the_same(steady: World, service_image: str) -> None:
    """Nobody reaches them by the Service meanwhile, so no load runs."""
    with pods_unready(steady, service_image):
        done = steady.ring.handled(steady.ring.rotate())
        assert steady.ring.status()["consumers"]["running"] >= 2
    steady.say(f"{UNREADY}: followed after {done['took']}")
    assert {told["signing"] for told in steady.keys_of_pods().values()} == {steady.ring.signing()}


def test_ten_pods_follow_within_three_seconds_and_lose_a_revoked_key_within_five(steady: World) -> None:
    steady.scale(10)
    steady.settled(10, within=300)
    told = [steady.followed(resource) for resource in (steady.ring, steady.login)]
    steady.ring.ripe_reserve(VALIDATOR_CACHE)
    revoked = steady.ring.signing()
    begun = monotonic()
    steady.ring.patch({"revoke": [revoked]})
    seen(lambda: steady.ring.revoked_everywhere(revoked), 30, lambda: f"the revocation, but {steady.ring.told()}")
    gone = monotonic() - begun
    assert steady.ring.status()["consumers"]["running"] == 11  # the worker too
    steady.say(f"10 pods: key followed after {told[0]:.2f} s, login after {told[1]:.2f} s, revocation {gone:.1f} s")
    steady.scale(2)
    steady.settled(2)
    assert max(told) < 3
    assert gone <= 5


def test_a_session_that_never_ends_is_named_and_not_killed(steady: World, rows: list[Row]) -> None:
    role = steady.login.role()
    with steady.load(**LOADED) as running:
        with session_of(steady.cluster, steady.namespace, role) as pid:
            nonce = steady.login.rotate()
            message = steady.login.shows("OldSessionsRemain", "Reconciling")
            assert f"pid {pid} (lingering, " in message
            assert " s old)" in message
            running.carry_on(5)
            assert steady.sessions_of(role) == 1
        steady.login.handled(nonce)
        outcome = measured(rows, steady, SESSION, running.finish(after=5))
    nothing_failed(outcome)


def test_a_database_that_restarts_during_a_login_rotation_loses_nothing(steady: World, rows: list[Row]) -> None:
    """Requests fail while there is no database, each with an honest status."""
    with steady.load(**LOADED) as running:
        nonce = steady.login.rotate()
        database_restarted(steady.cluster, steady.namespace)
        steady.login.handled(nonce, within=120)
        outcome = measured(rows, steady, DATABASE, running.finish(after=5))
    assert {failure["error"][:10] for failure in outcome.report["failures"]} <= {"status 503"}, outcome.failures
    assert outcome.tokens_refused_wrongly == 0
    by_hand.hurry(steady.cluster, steady.namespace, *steady.settled(2))
    steady.login.become_ready()
