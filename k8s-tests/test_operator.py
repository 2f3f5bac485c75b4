"""People approve plans, and only those who may: on an empty database, which then gets every revision at once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from charts.resources import resource
from cluster.commands import CommandError
from cluster.images.releases import Release
from cluster.model import Cluster
from load.reporting import line_writer
from migrating.life import OURS, SMALL, Life, life_opened
from operated.asked import status
from rotating.resource import KeyRing

pytest_plugins = ["migrating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

APPROVER, DEPLOYER = "approver@example.com", "deployer@example.com"
CHOSEN = {"runAsUser": 1_000_770_000, "runAsGroup": 0, "fsGroup": 1_000_770_000}
"""As OpenShift chooses users: known to no image, in the group of root. Every pod of this release runs by them."""

IN_ORDER = [*OURS, "add_content", "fill_content", "drop_body", "add_note", "drop_note"]


@pytest.fixture(scope="module")
def elsewhere(cluster: Cluster) -> Iterator[str]:
    """A namespace that the release's operator looks after besides."""
    with cluster.namespace(f"elsewhere-{uuid4().hex[:6]}") as name:
        yield name


@pytest.fixture(scope="module")
def life(
    cluster: Cluster,
    service_image: str,
    release: Callable[[Release], str],
    pytestconfig: pytest.Config,
    elsewhere: str,
) -> Iterator[Life]:
    operator = {
        "scope": "namespaces",
        "namespaces": [elsewhere],
        "services": [{"namespace": elsewhere, "secrets": ["named"]}],
    }
    approval = {"migrations": {"approval": "Always"}, "operator": operator}
    base = {**SMALL, "redis": {}, "podSecurityContext": CHOSEN, **approval}
    with life_opened(cluster, service_image, line_writer(pytestconfig), base) as opened:
        opened.upgrade(release("skipping"), wait=False)
        cluster.kubectl.apply([*role(DEPLOYER, []), *role(APPROVER, ["approve"])], opened.namespace)
        yield opened


def role(who: str, more: list[str]) -> list[dict[str, Any]]:
    """May change SchemaMigrations, and what `more` adds."""
    name = who.partition("@")[0]
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["slipway.dev"], "resources": ["schemamigrations"], "verbs": ["get", "patch", *more]}
    subject = {"kind": "User", "name": who, "apiGroup": group}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    ]


def test_a_plan_waits_for_a_person_and_shows_what_it_would_do(life: Life) -> None:
    message = life.migration.shows("AwaitingApproval", "Reconciling", within=90)
    plan = life.migration.read()["status"]["plan"]
    assert plan["digest"] in message
    assert [revision["id"] for revision in plan["revisions"]] == IN_ORDER
    assert "ADD COLUMN content" in str(life.migration.sql())
    assert life.migration.jobs("expand") == []


def test_who_asks_for_the_status_meanwhile_is_told_to_read_the_plan(life: Life) -> None:
    code, report = status(life.cluster, life.namespace)
    assert (code, report["verdict"]) == (2, "act")
    assert "AwaitingApproval" in report["sentence"]
    # The command as it stands there, typed into a shell that has this cluster's kubectl.
    words = shlex.split(report["command"])
    assert words[0] == "kubectl"
    plan = json.loads(life.cluster.kubectl.run(*words[1:]))
    assert plan["digest"] == life.migration.read()["status"]["plan"]["digest"]


def test_who_lacks_the_verb_can_not_approve(life: Life) -> None:
    digest = life.migration.read()["status"]["plan"]["digest"]
    with pytest.raises(CommandError, match="verb approve"):
        life.migration.patch({"approve": digest}, f"--as={DEPLOYER}")
    assert "approve" not in life.migration.read()["spec"]


def test_another_digest_approves_nothing(life: Life) -> None:
    life.migration.patch({"approve": f"sha256:{'0' * 64}"}, f"--as={APPROVER}")
    life.migration.shows("AwaitingApproval", "Reconciling")
    assert life.migration.jobs("expand") == []


def test_the_approved_plan_goes_straight_through_on_an_empty_database(life: Life) -> None:
    digest = life.migration.read()["status"]["plan"]["digest"]
    life.migration.patch({"approve": digest}, f"--as={APPROVER}")
    shown = life.migration.become_ready(60)
    assert shown["status"]["approvedDigest"] == digest
    assert life.ledger() == dict.fromkeys(IN_ORDER, "applied")
    assert len(life.migration.jobs("expand")) == 1
    assert life.migration.jobs("contract") == []
    life.settled(1)


def test_the_status_is_fine_then_and_quickly_told(life: Life, pytestconfig: pytest.Config) -> None:
    life.rollout_done()
    times = []
    for _ in range(20):
        begun = monotonic()
        code, report = status(life.cluster, life.namespace)
        times.append(monotonic() - begun)
        assert (code, report["verdict"]) == (0, "fine"), report
    line_writer(pytestconfig)(f"kubectl slipway status, 20 times: p50 {times_at(times, 50)}, p95 {times_at(times, 95)}")
    seen = report["seen"]
    assert [(each["component"], each["available"]) for each in seen["workloads"]] == [("api", 1), ("operator", 1)]
    assert {each["state"] for each in seen["resources"]} == {"Ready"}
    assert seen["resources"][0]["kind"] == "SchemaMigration"
    assert seen["resources"][0]["facts"]["revision"] == IN_ORDER[-1]
    assert seen["dependencies"]["postgresql"] is True
    assert seen["jobs"] is None, "this release has no worker"
    code, text = status(life.cluster, life.namespace, output="text")
    assert (code, text.split(maxsplit=1)[0]) == (0, "FINE")


def times_at(times: list[float], percent: int) -> str:
    return f"{sorted(times)[len(times) * percent // 100 - 1] * 1000:.0f} ms"


def test_elsewhere_it_makes_the_secrets_that_a_value_names_and_no_others(life: Life, elsewhere: str) -> None:
    rings = {name: KeyRing(life.cluster, elsewhere, name) for name in ("named", "unnamed")}
    life.cluster.kubectl.apply([resource("KeyRing", name, secretName=name) for name in rings], elsewhere)
    rings["named"].shows("NoConsumers", "Ready", within=30)
    assert "secrets" in rings["unnamed"].shows("ClusterRefuses", within=30)
    made = life.cluster.kubectl.run("get", "secrets", f"--namespace={elsewhere}", "--output=name").split()
    assert made == ["secret/named"]


def test_a_user_that_no_image_knows_runs_all_of_it(life: Life) -> None:
    pods = life.cluster.kubectl.json("get", "pods", life.scope)["items"]
    ran = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
    assert ran == {"api", "operator", "migrate", "postgresql", "redis"}
    for pod in pods:
        assert pod["spec"]["securityContext"].items() >= CHOSEN.items()
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in containers)
        assert not any(status["restartCount"] for status in pod["status"]["containerStatuses"])
