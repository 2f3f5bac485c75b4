"""What goes wrong with a schema migration shows under its own reason within 30 s, and passes once it is mended.

One small release goes through its life, test by test: each begins where the one before it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cluster.images.releases import NAMES, Release
from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from migrating.by_hand import PATIENCE, by_hand
from migrating.database import table_held
from migrating.life import OURS, SMALL, Life, life_opened
from migrating.plain import deployment, migration
from migrating.resource import Migration
from operated.audit import requests_of
from operated.resource import OPERATOR
from rotating.audit import unused_by_migrations

pytest_plugins = ["migrating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

NOWHERE = "127.0.0.1:1/slipway:nowhere"
"""No registry is there, which a node learns at once: to learn it of a name takes as long as its DNS does."""


@pytest.fixture(scope="module")
def life(
    cluster: Cluster, service_image: str, release: Callable[[Release], str], pytestconfig: pytest.Config
) -> Iterator[Life]:
    for name in NAMES:
        release(name)
    with life_opened(cluster, service_image, line_writer(pytestconfig), SMALL) as opened:
        opened.upgrade(service_image)
        yield opened


def test_without_the_gate_pods_serve_on_a_schema_that_they_do_not_know(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    """The control of the gate: neither init container nor probes look at the schema."""
    alive = {"httpGet": {"path": "/livez", "port": "ops"}, "periodSeconds": 1}
    life.migration.patch({"suspend": True})
    life.migration.shows("Suspended")
    with life.load() as running:
        life.upgrade(
            release("expanded"),
            wait=False,
            migrations={"waitCommand": []},
            probes={"startup": {**alive, "failureThreshold": 60}, "readiness": alive},
        )
        seen(lambda: life.serving(release("expanded")), 60, "a pod of the release whose schema isn't there")
        outcome = life.told("a rollout without the gate", running.finish(after=4))
    assert outcome.failed > 0
    assert "status 500" in outcome.failures
    life.upgrade(service_image, wait=False)
    life.migration.patch({"suspend": None})
    life.migration.become_ready()
    life.rollout_done()


def test_an_image_that_is_not_there(life: Life, service_image: str) -> None:
    life.upgrade(NOWHERE, wait=False)
    message = life.migration.shows("ImagePullFailed", "Reconciling")
    assert NOWHERE in message
    life.upgrade(service_image)
    assert life.migration.ready()
    plans = [job["spec"]["template"]["spec"]["containers"][0]["image"] for job in life.migration.jobs("plan")]
    assert NOWHERE not in plans, "a Job that never began is removed"


def test_a_login_that_is_not_there_yet(life: Life) -> None:
    life.migration.patch({"database": {"secretName": "late-owner"}})
    life.migration.shows("VolumeNotReady", "Reconciling", saying="late-owner")
    owner = life.cluster.kubectl.json("get", "secret", "slipway-database-owner", life.scope)
    late = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late-owner"}, "data": owner["data"]}
    life.cluster.kubectl.apply([late], life.namespace)
    life.migration.become_ready()


def test_two_heads(life: Life, service_image: str, release: Callable[[Release], str]) -> None:
    life.upgrade(release("forked"), wait=False)
    message = life.migration.shows("MultipleHeads", "Stalled")
    assert "add_content" in message
    assert "add_note" in message
    life.upgrade(service_image)
    assert life.migration.ready()


def test_a_workload_that_comes_later_and_a_pod_that_the_namespace_refuses(life: Life, service_image: str) -> None:
    """Resources beside the chart's own, of the same database. A workload that comes is soon taken up."""
    late, loose = (Migration(life.cluster, life.namespace, name) for name in ("late", "loose"))
    wishes = [migration(name, service_image, "slipway-database-owner") for name in (late.name, loose.name)]
    life.cluster.kubectl.apply(wishes, life.namespace)
    assert "late" in late.shows("WorkloadMissing", "Reconciling")
    assert "loose" in loose.shows("WorkloadMissing", "Reconciling")
    privileged = deployment("loose", service_image, securityContext={"privileged": True})
    life.cluster.kubectl.apply([privileged], life.namespace)
    assert "privileged" in loose.shows("AdmissionRefused", "Stalled")
    mended = [deployment(name, service_image) for name in (late.name, loose.name)]
    life.cluster.kubectl.apply(mended, life.namespace)
    late.become_ready()
    loose.become_ready()


def test_a_suspended_one_starts_nothing_and_goes_on_afterwards(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    life.migration.patch({"suspend": True})
    life.upgrade(release("failing"), wait=False, migrations={"retries": 1})
    life.migration.shows("Suspended")
    before = len(life.migration.jobs("plan"))
    assert life.serving(service_image)
    life.migration.patch({"suspend": None})
    seen(lambda: len(life.migration.jobs("plan")) > before, 20, "another plan")


def test_a_revision_that_fails_is_tried_again_and_then_left_to_a_person(life: Life, service_image: str) -> None:
    message = life.migration.shows("StatementFailed", "Stalled", within=60)
    assert "fail_always" in message
    assert len(life.migration.jobs("expand")) >= 2
    assert life.ledger() == dict.fromkeys(OURS, "applied")
    assert life.serving(service_image)


def test_a_mended_image_waits_for_a_lock_that_a_killed_operator_does_not_forget(
    life: Life, release: Callable[[Release], str]
) -> None:
    expands = {job["metadata"]["name"] for job in life.migration.jobs("expand")}
    with table_held(life.cluster, life.namespace) as pid:
        life.upgrade(release("expanded"), wait=False)
        message = life.migration.shows("WaitingForLock", "Reconciling")
        assert f"pid {pid} (user slipway, active, for " in message
        assert "pg_sleep" not in message
        life.operator_killed()
        life.migration.shows("WaitingForLock", "Reconciling")
    life.migration.become_ready()
    (expand,) = [job for job in life.migration.jobs("expand") if job["metadata"]["name"] not in expands]
    assert expand["status"]["succeeded"] == 1
    assert "fill_content" in life.ledger()


def test_a_contract_waits_for_a_backup_that_can_not_be_made(life: Life, release: Callable[[Release], str]) -> None:
    life.upgrade(release("contracted"), wait=False, migrations={"backup": {"cronJobName": "nowhere"}})
    assert "nowhere" in life.migration.shows("BackupMissing", within=90)
    assert "drop_body" not in life.ledger()
    assert life.migration.jobs("announce") == []


def test_without_the_hold_a_contract_breaks_the_pods_that_serve(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    """The control of the hold: a Job by hand runs everything while the release before serves."""
    life.upgrade(service_image)
    with life.load() as running:
        by_hand(life, release("contracted"), "upgrade", "--phase=all", PATIENCE)
        running.carry_on(3)
        outcome = life.told("a contract without the hold", running.finish())
    assert outcome.failed > 0
    assert "status 500" in outcome.failures


def test_people_do_it_by_hand_while_the_operator_is_away_and_it_agrees(
    life: Life, release: Callable[[Release], str]
) -> None:
    new = release("skipping")
    life.upgrade(release("contracted"))
    life.operator_scaled(0)
    life.upgrade(new, wait=False, operator={"enabled": False})
    assert "add_note" in by_hand(life, new, "plan", PATIENCE)
    by_hand(life, new, "upgrade", "--phase=expand", PATIENCE)
    life.rollout_done()
    life.settled(1)
    by_hand(life, new, "announce", PATIENCE)
    assert life.ledger()["drop_note"] == "announced"
    by_hand(life, new, "upgrade", "--phase=all", PATIENCE)
    life.upgrade(new)
    assert life.migration.ready()
    assert life.ledger()["drop_note"] == "applied"
    assert life.migration.jobs("contract") == []
    assert life.migration.status()["plan"]["revisions"] == []
    assert life.migration.sql() is None


def test_nothing_was_denied_to_the_operator_and_every_right_of_it_was_used(
    life: Life,
    own_api_server: None,  # noqa: ARG001 - whose audit log can be read
) -> None:
    """By all the tests above."""
    requests = list(requests_of(life.cluster, life.namespace, OPERATOR))
    assert [request for request in requests if request.status in (401, 403)] == []
    role = life.cluster.kubectl.json("get", "role", OPERATOR, life.scope)
    assert unused_by_migrations(role, requests) == set()
