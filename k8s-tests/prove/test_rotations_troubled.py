"""What gets in the way of keys and logins shows under its own reason, loses nothing, and passes once mended.

Beside k8s-tests/test_rotations_secrets.py and test_rotations.py. Each test begins where the one before it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from migrating.database import sql, table_held
from operated.instead import operator_instead
from operated.lost import GHOST
from rotating import lost, material
from rotating.world import VALIDATOR_CACHE, World, world_at_work

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(300)

HEALED_WITHIN = 15.0
OWNER, ADMIN = "slipway-database-owner", "rotator"


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_at_work(cluster, service_image, line_writer(pytestconfig)) as opened:
        yield opened


def test_keys_edited_while_the_operator_was_away_are_as_they_were_when_it_is_back(world: World) -> None:
    held = material.data(world.secret(material.RING))
    world.operator_scaled(0)
    material.write(world.cluster, world.namespace, material.RING, {"signing": b"nobody"})
    world.operator_scaled(1)
    material.becomes(world.cluster, world.namespace, material.RING, held, HEALED_WITHIN)
    world.ring.become_ready()


def test_keys_emptied_while_the_operator_was_away_are_lost_and_no_new_ones_end_the_sessions(world: World) -> None:
    backup, signing = world.secret(material.RING), world.ring.signing()
    world.operator_scaled(0)
    material.write(world.cluster, world.namespace, material.RING, dict.fromkeys(material.data(backup)))
    world.operator_scaled(1)
    message = world.ring.shows("KeysLost", "Stalled")
    assert signing in message
    world.say(f"KeysLost: {message}")
    assert {told["signing"] for told in world.keys_of_pods().values()} == {signing}
    world.restore(backup)
    world.ring.become_ready()
    assert world.ring.signing() == signing


def test_a_lost_pod_that_nobody_looks_for_or_that_is_taken_for_gone(
    world: World,
    service_image: str,
    own_api_server: None,  # noqa: ARG001 - a node without a kubelet isn't everybody's
) -> None:
    """The controls of k8s-tests/test_rotations_evidence.py: nobody is told a way out; what the pod uses ends."""
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    signing, role = world.ring.signing(), world.login.role()
    with lost.lost_consumer(world, service_image):
        nonces = world.ring.rotate(), world.login.rotate()
        with operator_instead(world, "lost-nodes"):
            for each in (world.ring, world.login):
                message = each.shows("ConsumersLagging", "Reconciling", saying=lost.NAME)
                world.say(f"without lost-nodes: {message}")
                assert GHOST not in message
        world.ring.shows("NodeLost", "Stalled")
        assert (world.ring.signing(), world.login.role()) == (signing, role)
        with operator_instead(world, "lost-pods"):
            world.ring.handled(nonces[0])
            world.login.handled(nonces[1])
            seen(lambda: world.login.condition()["reason"] == "Stable", 60, world.login.told)
        world.say(f"without lost-pods: the password of {role}, which the lost pod has, is unknown")
    assert world.ring.signing() != signing
    assert world.login.role() != role
    world.ring.become_ready()
    world.login.become_ready()


def test_a_rotation_of_the_login_waits_for_a_migrations_job_of_the_same_database(
    world: World, release: Callable[[Release], str]
) -> None:
    role = world.login.role()
    with table_held(world.cluster, world.namespace):
        world.upgrade(release("expanded"), wait=False)
        world.migration.shows("WaitingForLock", "Reconciling", within=60)
        nonce = world.login.rotate()
        message = world.login.shows("MigrationRuns", "Reconciling")
        assert any(job["metadata"]["name"] in message for job in world.migration.jobs("expand"))
        world.say(f"MigrationRuns: {message}")
        assert world.login.role() == role
    world.login.handled(nonce)
    assert world.login.role() != role
    world.migration.become_ready()
    world.rollout_done()


def test_an_admin_that_is_no_superuser_is_told_each_right_that_it_lacks_and_then_rotates(
    world: World, release: Callable[[Release], str]
) -> None:
    owner = world.cluster.kubectl.json("get", "secret", OWNER, world.scope)["data"]
    kept = {name: value for name, value in owner.items() if name not in {"uri", "username"}}
    admin = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": ADMIN}, "data": kept}
    world.cluster.kubectl.apply([{**admin, "stringData": {"username": ADMIN}}], world.namespace)
    sql(world.cluster, world.namespace, f"CREATE ROLE {ADMIN} LOGIN CREATEROLE")
    world.upgrade(release("expanded"), wait=False, databaseLogin={"admin": {"existingSecret": ADMIN}})
    world.login.shows("AdminRefused", "Reconciling")

    sql(world.cluster, world.namespace, f"ALTER ROLE {ADMIN} PASSWORD 'slipway-demo'")
    reasons = mended_as_told(world)
    world.say(f"AdminRefused, then {', '.join(reasons)}: each mended by the statement in its message")
    assert set(reasons) == {"AdminLacksRights"}
    role = world.login.role()
    world.login.handled(world.login.rotate())
    assert world.login.role() != role


def test_a_role_that_was_dropped_by_hand_is_made_again_and_takes_over_once_its_sessions_can_be_seen(
    world: World,
) -> None:
    """Who makes a role may grant it, and isn't in it: PostgreSQL hides its sessions."""
    role = world.login.role()
    (other,) = set(world.login.read()["spec"]["roles"]) - {role}
    sql(world.cluster, world.namespace, f"DROP ROLE {other}")
    nonce = world.login.rotate()
    assert mended_as_told(world) == ["SessionsHidden"]
    world.login.handled(nonce)
    assert world.login.role() == other
    assert any(reason == "PreparingRoles" and other in message for _, reason, message in world.login.events())
    assert world.sessions_of(role) == 0


def mended_as_told(world: World) -> list[str]:
    """The reasons, each mended by the statement that its message tells, until the login is Ready."""
    reasons: list[str] = []
    run: list[str] = []

    def asked_for() -> str | None:
        """Another statement than those that were run; `Ready` for none."""
        if world.login.ready():
            return "Ready"
        statement = str(world.login.condition()["message"]).partition("Run: ")[2].partition(";")[0]
        return statement if statement and statement not in run else None

    while (statement := seen(asked_for, 60, lambda: f"Ready, or what to run, but {world.login.told()}")) != "Ready":
        reasons.append(world.login.condition()["reason"])
        run.append(statement)
        sql(world.cluster, world.namespace, statement)
    return reasons
