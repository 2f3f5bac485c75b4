"""What the operator doesn't take for its own, for done or for the same, and what becomes of it with that guard off.

Each test begins where the one before it ended. Beside it: test_operators.py, test_migrations_foreign.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from load.verdict import nothing_failed
from operated.instead import operator_instead
from rotating import material
from rotating.world import BASE, VALIDATOR_CACHE, World, world_at_work
from slipway_operator.migrations.names import job_name

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(300)

OWNER, DATABASE, OTHER = "slipway-database-owner", "slipway-postgresql", "other-postgresql"
PLAN = "slipway-plan"


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_at_work(cluster, service_image, line_writer(pytestconfig)) as opened:
        yield opened


def test_a_suspended_ring_calls_no_key_revoked_that_pods_have(world: World) -> None:
    world.ring.ripe_reserve(VALIDATOR_CACHE)
    key = world.ring.signing()
    world.ring.patch({"suspend": True, "revoke": [key]})
    world.ring.shows("Suspended")
    assert world.ring.stages()[key] == "Signing"
    with operator_instead(world, "suspension"):
        seen(lambda: world.ring.stages()[key] == "Revoked", 30, world.ring.told)
        held = {name for name, told in world.keys_of_pods().items() if key in told["keys"]}
    world.say(f"without suspension: Revoked, and {len(held)} pods hold it")
    assert len(held) == 2
    world.ring.patch({"suspend": None, "revoke": None})
    world.ring.become_ready()


def test_a_config_map_of_somebody_elses_that_has_the_plans_name_stays_as_it_is(
    world: World, release: Callable[[Release], str]
) -> None:
    kubectl, theirs = world.cluster.kubectl, {"key": "theirs"}
    kubectl.run("delete", "configmap", PLAN, world.scope)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PLAN}, "data": theirs}
    kubectl.apply([made], world.namespace)
    world.upgrade(release("expanded"), wait=False, migrations={**BASE["migrations"], "approval": "Always"})
    assert PLAN in world.migration.shows("ConfigMapNotOurs", "Stalled", within=60)
    assert _plan(world) == theirs
    with operator_instead(world, "owners"):
        world.migration.shows("AwaitingApproval", "Reconciling", within=60)
    world.say(f"without owners: the ConfigMap holds {', '.join(_plan(world))}")
    assert "plan.sql" in _plan(world)


def _plan(world: World) -> dict[str, str]:
    found: dict[str, str] = world.cluster.kubectl.json("get", "configmap", PLAN, world.scope)["data"]
    return found


def test_a_job_of_somebody_elses_that_has_its_name_is_told_and_stays_as_it_is(world: World) -> None:
    kubectl, shown = world.cluster.kubectl, world.migration.read()
    name = job_name("slipway", shown["metadata"]["uid"], shown["status"]["planKey"], "expand", 0)
    container = {"name": "theirs", "image": "theirs.example/none"}
    spec = {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    kubectl.apply(
        [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}], world.namespace
    )
    world.migration.patch({"approve": shown["status"]["plan"]["digest"]})
    assert name in world.migration.shows("JobNotOurs")
    theirs = kubectl.json("get", "job", name, world.scope)["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in theirs] == ["theirs"]
    kubectl.run("delete", "job", name, world.scope)
    world.migration.become_ready()
    world.rollout_done()


def test_an_admins_secret_that_leads_to_another_server_changes_nothing_until_a_person_says_so(world: World) -> None:
    _another_server(world)
    login, role = material.data(world.secret(material.LOGIN)), world.login.role()
    with world.load() as running:
        _leads_to(world, OTHER)
        world.login.rotate()
        message = world.login.shows("ServerChanged", "Stalled")
        outcome = world.judged("ServerChanged", running.finish(5))
    nothing_failed(outcome)
    world.say(f"ServerChanged: {message}")
    assert (material.data(world.secret(material.LOGIN)), world.login.role()) == (login, role)


def test_taken_for_the_same_that_server_gets_the_pods(world: World) -> None:
    """The control: it has neither tables nor rows."""
    with world.load(timeout=5) as running:
        with operator_instead(world, "servers"):
            seen(lambda: material.data(world.secret(material.LOGIN))["host"] == OTHER.encode(), 60, world.login.told)
            running.carry_on(5)
            _leads_to(world, DATABASE)
        outcome = world.judged("control: another server is taken for the same", running.finish())
    assert outcome.failed > 0
    world.login.become_ready()


def _leads_to(world: World, host: str) -> None:
    material.write(world.cluster, world.namespace, OWNER, {"host": host.encode()})


def _another_server(world: World) -> None:
    """As the demo's, empty, and ready."""
    kubectl = world.cluster.kubectl
    found: dict[str, Any] = kubectl.json("get", "statefulset", DATABASE, world.scope)["spec"]
    labels, metadata = {"app": OTHER}, {"name": OTHER}
    template = {"metadata": {"labels": labels}, "spec": found["template"]["spec"]}
    spec = {"serviceName": OTHER, "selector": {"matchLabels": labels}, "template": template}
    service = {"clusterIP": "None", "selector": labels, "ports": [{"port": 5432}]}
    made = [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec},
    ]
    kubectl.apply(made, world.namespace)
    kubectl.run("rollout", "status", f"statefulset/{OTHER}", world.scope, "--timeout=60s", timeout=70)
