"""What k8s-tests/test_migrations_foreign.py shows, with guards of the operator off: it hangs, or breaks.

Each test begins where the one before it ended, and ends with the guard on again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster.loading import pulled_as
from cluster.model import Cluster
from cluster.settings import Settings
from load.looking import lasting, seen
from load.reporting import line_writer
from migrating.endings import ENDINGS, SECRET, endings
from migrating.injecting import SIDECAR, mutating, other_name
from migrating.life import Life
from migrating.notes import NAME, columns, deployed, meshed, notes_of, notes_opened, rolled_out, touched
from migrating.plain import CONTAINER, deployment
from migrating.resource import Migration
from operated.instead import operator_instead
from operated.lost import GHOST, lost_pod

pytestmark = pytest.mark.timeout(300)

HANGS, WAITS = 45.0, 20.0
"""Seconds: for as long nothing else is told; what is right was told within 30, or within 4."""
LOST = "notes-lost"
OTHER_IMAGE = f"docker.io/library/plain-alembic@sha256:{'1' * 64}"


@pytest.fixture(scope="module")
def life(
    cluster: Cluster,
    service_image: str,
    own_api_server: None,  # noqa: ARG001 - it must know policies that change objects, and a node without a kubelet
    pytestconfig: pytest.Config,
) -> Iterator[Life]:
    with notes_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        yield opened


@pytest.fixture
def notes(life: Life) -> Migration:
    return notes_of(life)


def stays(life: Life, notes: Migration, guard: str, reason: str, seconds: float) -> str:
    """The message that is there for so long; printed."""

    def shown() -> str:
        ready = notes.condition()
        return str(ready["message"]) if ready["reason"] == reason else ""

    seen(shown, 60, lambda: f"{reason}, but {notes.told()}")
    message = lasting(shown, seconds, lambda: f"{reason}, but {notes.told()}")
    life.say(f"without {guard}: {reason} for {seconds:g} s: {message}")
    return message


def test_a_runner_that_imports_what_only_asynchronous_images_have_can_not_plan_one_without_greenlet(
    life: Life, notes: Migration
) -> None:
    with operator_instead(life, "runner-imports"):
        deployed(life, "first")
        message = notes.shows("ModuleMissing", "Stalled")
    life.say(f"without runner-imports: {message}")
    assert "lacks module greenlet" in message


def test_a_runner_that_catches_nothing_tells_nothing(life: Life, notes: Migration) -> None:
    with operator_instead(life, "runner-imports", "runner-words"):
        notes.replan("wordless")
        message = notes.shows("CommandFailed")
    life.say(f"without runner-imports, runner-words: {message}")
    assert "greenlet" not in message
    notes.replan("guarded")
    assert notes.become_ready()["status"]["revision"] == "0001"


def test_a_plan_whose_sidecar_nobody_looks_at_hangs(life: Life, notes: Migration) -> None:
    with meshed(life):
        with operator_instead(life, "sidecars"):
            notes.replan("held")
            seen(lambda: ended(life), 60, notes.told)
            message = stays(life, notes, "sidecars", "Planning", HANGS)
            assert SIDECAR not in message
        notes.become_ready()
    assert SIDECAR in next(told for _, reason, told in notes.events() if reason == "SidecarHolds")


def ended(life: Life) -> bool:
    """Whether the container of a plan has ended, and its pod hasn't."""
    selector = f"--selector=slipway.dev/schemamigration={NAME},slipway.dev/purpose=plan"
    found = life.cluster.kubectl.json("get", "pods", life.scope, selector, "--field-selector=status.phase=Running")
    states = [
        one["state"] for pod in found["items"] for one in pod["status"]["containerStatuses"] if one["name"] == CONTAINER
    ]
    return any("terminated" in state for state in states)


def test_where_only_names_count_a_renamed_image_is_another(life: Life, notes: Migration) -> None:
    renamed = "docker.io/library/plain-alembic:third"
    ours = {"this": f"object.metadata.name == '{NAME}'"}
    with mutating(life.cluster, life.namespace, "apps/deployments", other_name(renamed), ours):
        with operator_instead(life, "image-names"):
            deployed(life, "third", approval="Destructive")
            seen(lambda: touched(life) == renamed, 30, "the image that admission writes")
            rolled_out(life)
            assert renamed in stays(life, notes, "image-names", "RollingOut", WAITS)
            assert notes.condition("ImageRewritten") == {}
        notes.shows("AwaitingApproval")
        assert notes.condition("ImageRewritten")["status"] == "True"


def test_where_ids_count_whole_the_repository_that_a_node_reports_makes_another_image(
    life: Life, notes: Migration
) -> None:
    settings, image = Settings.from_environment(os.environ), "plain-alembic:third"
    with pulled_as(settings, image, "docker.io/library/plain-alembic") as planned:
        notes.replan("pulled")
        seen(lambda: notes.status().get("imageID") == planned, 60, notes.told)
    with pulled_as(settings, image, "mirror.example/plain-alembic") as reported:
        with operator_instead(life, "image-digests"):
            life.cluster.kubectl.run("rollout", "restart", f"deployment/{NAME}", life.scope)
            rolled_out(life)
            message = stays(life, notes, "image-digests", "ImageRewritten", WAITS)
            assert f"isn't what was planned ({planned})" in message
        notes.shows("AwaitingApproval")
        ids = "--output=jsonpath={.items[*].status.containerStatuses[*].imageID}"
        assert life.cluster.kubectl.run("get", "pods", life.scope, f"--selector=app={NAME}", ids) == reported


def test_a_lost_node_that_nobody_looks_for_is_told_by_nothing_and_a_lost_pod_taken_for_gone_is_broken(
    life: Life, notes: Migration
) -> None:
    template = deployment(NAME, "plain-alembic:first")["spec"]["template"]
    with lost_pod(life.cluster, life.namespace, LOST, template, OTHER_IMAGE):
        with operator_instead(life, "lost-nodes"):
            message = stays(life, notes, "lost-nodes", "OldPodsRemain", WAITS)
            assert LOST in message
            assert GHOST not in message
        message = notes.shows("NodeLost", "Stalled")
        assert f"kubectl delete node {GHOST}" in message
        assert "body" in columns(life)
        with operator_instead(life, "lost-pods"):
            notes.shows("AwaitingApproval")
            notes.patch({"approve": notes.status()["plan"]["digest"]})
            notes.become_ready()
        life.say("without lost-pods: the contract ran while nothing was known of a pod that it breaks")
        assert "body" not in columns(life)


def test_whatever_ends_a_runner_the_status_says_why(life: Life) -> None:
    for name, resource in endings(life).items():
        ending = ENDINGS[name]
        message = resource.shows(ending.reason, "Stalled", 90)
        life.say(f"{name}: {ending.reason}: {message}")
        assert ending.part in message
        assert SECRET not in resource.told()
