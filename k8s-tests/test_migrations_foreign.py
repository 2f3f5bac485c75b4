"""An image with plain Alembic and nothing of Slipway in it: planned, gated and migrated, by plain manifests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from migrating.injecting import ASKED_OUT, SIDECAR, mutating, other_name
from migrating.life import Life
from migrating.notes import NAME, columns, deployed, meshed, notes_of, notes_opened, touched
from migrating.plain import deployment
from migrating.resource import Migration
from operated.lost import GHOST, lost_pod

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

LOST = "notes-lost"


@pytest.fixture(scope="module")
def life(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[Life]:
    with notes_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        yield opened


@pytest.fixture
def notes(life: Life) -> Migration:
    return notes_of(life)


def test_a_config_map_that_somebody_else_made_is_left_alone_until_it_is_gone(life: Life, notes: Migration) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{NAME}-script"},
        "data": {"key": "theirs"},
    }
    life.cluster.kubectl.apply([theirs], life.namespace)
    deployed(life, "first")
    assert f"{NAME}-script" in notes.shows("ConfigMapNotOurs", "Stalled")
    assert life.cluster.kubectl.json("get", "configmap", f"{NAME}-script", life.scope)["data"] == theirs["data"]
    assert notes.jobs("plan") == []
    life.cluster.kubectl.run("delete", "configmap", f"{NAME}-script", life.scope)


def told(notes: Migration, reason: str) -> list[str]:
    """Messages of the events with that reason."""
    return [message for _, each, message in notes.events() if each == reason]


def test_its_schema_is_brought_up_before_its_first_pod_starts(life: Life, notes: Migration) -> None:
    shown = notes.become_ready()
    assert shown["status"]["revision"] == "0001"
    life.cluster.kubectl.wait(f"deployment/{NAME}", "Available", life.namespace)


def test_a_sidecar_that_a_mesh_injects_into_its_jobs_holds_no_plan(
    life: Life,
    notes: Migration,
    own_api_server: None,  # noqa: ARG001 - it must know such policies
) -> None:
    with meshed(life):
        notes.replan("injected")
        seen(lambda: told(notes, "SidecarHolds"), 60, notes.told)
        assert SIDECAR in told(notes, "SidecarHolds")[0]
        assert notes.become_ready()["status"]["revision"] == "0001"
        notes.patch({"jobAnnotations": {ASKED_OUT: "false"}})
        notes.replan("asked-out")
        seen(lambda: [job for job in notes.jobs("plan") if job["status"].get("succeeded")], 60, notes.told)
        notes.become_ready()
        assert len(told(notes, "SidecarHolds")) == 1


def test_a_pod_of_a_lost_node_keeps_a_contract_waiting_and_the_ways_out_are_told(
    life: Life,
    notes: Migration,
    own_api_server: None,  # noqa: ARG001 - a node without a kubelet isn't everybody's
) -> None:
    [running] = life.cluster.kubectl.json("get", "pods", life.scope, f"--selector=app={NAME}")["items"]
    image_id = running["status"]["containerStatuses"][0]["imageID"]
    template = deployment(NAME, "plain-alembic:first")["spec"]["template"]
    with lost_pod(life.cluster, life.namespace, LOST, template, image_id):
        deployed(life, "third")
        message = notes.shows("NodeLost", "Stalled", 90)
    for part in (LOST, f"node {GHOST}", f"kubectl delete node {GHOST}", f"taint nodes {GHOST}"):
        assert part in message
    assert notes.jobs("contract") == []


def test_a_contract_waits_until_its_old_pod_is_gone(life: Life, notes: Migration) -> None:
    shown = notes.become_ready()
    assert shown["status"]["revision"] == "0003"
    assert [revision["id"] for revision in shown["status"]["plan"]["revisions"]] == ["0002", "0003"]
    reasons = [reason for _, reason, _ in notes.events()]
    assert {"RollingOut", "OldPodsRemain", "NodeLost"} & set(
        reasons[reasons.index("UpToDate") : reasons.index("Announcing")]
    )
    assert columns(life) == {"author", "id", "title"}
    images = "jsonpath={.items[*].spec.containers[*].image}"
    pods = ("get", "pods", life.scope, f"--selector=app={NAME}", f"--output={images}")
    seen(lambda: life.cluster.kubectl.run(*pods) == "plain-alembic:third", 30, "the old pod's end")


def test_an_image_that_admission_renames_is_told_and_is_the_same_by_its_digest(
    life: Life,
    notes: Migration,
    own_api_server: None,  # noqa: ARG001 - it must know such policies
) -> None:
    renamed = "docker.io/library/plain-alembic:third"
    change = other_name(renamed)
    with mutating(
        life.cluster, life.namespace, "apps/deployments", change, {"this": f"object.metadata.name == '{NAME}'"}
    ):
        seen(lambda: touched(life) == renamed, 30, "the image that admission writes")
        notes.replan("renamed")
        notes.become_ready()
        shown = seen(lambda: notes.condition("ImageRewritten"), 30, notes.told)
    assert f"{renamed} in the place of plain-alembic:third" in shown["message"]
