"""Who may let a plan run: the chart's policy on a real API server, against all that goes around `spec.approve`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml

from charts import definitions
from charts.render import DEMO, Renderer, merged
from charts.resources import resource
from cluster.commands import CommandError
from cluster.kubectl import Kubectl
from cluster.model import Cluster
from cluster.waiting import until

APPROVER, DEPLOYER = "approver@example.com", "deployer@example.com"
GROUP = "rbac.authorization.k8s.io"
MAY = ["get", "list", "create", "update", "patch", "delete"]
DIGEST = f"sha256:{'0' * 64}"

STRICT = {
    "approval": "Destructive",
    "lint": {"failOn": "Error", "ignore": ["prefer-text-field"]},
    "backup": {"cronJobName": "dump"},
}
LOOSER: dict[str, dict[str, Any]] = {
    "approve": {"approve": DIGEST},
    "approval Never": {"approval": "Never"},
    "approval left out": {"approval": None},
    "failOn Never": {"lint": {"failOn": "Never"}},
    "more rules ignored": {"lint": {"ignore": ["prefer-text-field", "ban-drop-column"]}},
    "no backup": {"backup": None},
    "another backup": {"backup": {"cronJobName": "true"}},
}
"""Merge patches by which a plan would run that waits for a person, or a contract without its backup."""

AS_STRICT: dict[str, dict[str, Any]] = {
    "another image": {"image": "registry.example/slipway:0.2.0"},
    "approval Always": {"approval": "Always"},
    "failOn Warning": {"lint": {"failOn": "Warning"}},
    "no rule ignored": {"lint": {"ignore": None}},
    "lint left out": {"lint": None},
    "suspend": {"suspend": True},
    "retries": {"retries": 0},
}
"""What a deployment, or whoever must stop one, goes on to do without asking."""


def roles(who: str, verbs: list[str]) -> list[dict[str, Any]]:
    name = who.partition("@")[0]
    resources = ["schemamigrations", "schemamigrations/status"]
    rule = {"apiGroups": ["slipway.dev"], "resources": resources, "verbs": verbs}
    return [
        {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]},
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [{"kind": "User", "name": who, "apiGroup": GROUP}],
        },
    ]


class Place:
    """A namespace with two people and a SchemaMigration `slipway` in it; what they try is tried only."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace
        kubectl.apply([*roles(DEPLOYER, MAY), *roles(APPROVER, [*MAY, "approve"])], namespace)
        kubectl.apply([resource("SchemaMigration", "slipway", **STRICT)], namespace)

    def patch(self, who: str, change: dict[str, Any], *options: str) -> None:
        body = ("--type=merge", f"--patch={json.dumps(change)}", "--dry-run=server", f"--namespace={self.namespace}")
        self.kubectl.run("patch", "schemamigration/slipway", *body, *options, f"--as={who}")

    def create(self, who: str, **change: Any) -> None:
        """As after a deletion, and as another one beside it."""
        document = resource("SchemaMigration", "again", **merged(STRICT, change))
        document["spec"] = {key: value for key, value in document["spec"].items() if value is not None}
        options = ("--dry-run=server", f"--namespace={self.namespace}", f"--as={who}", "--filename=-")
        self.kubectl.run("create", *options, input=yaml.safe_dump(document))


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    definitions.establish(cluster.kubectl, definitions.ours())
    return cluster.kubectl


@pytest.fixture(scope="module")
def home(cluster: Cluster, kubectl: Kubectl) -> Iterator[Place]:
    with cluster.namespace(f"test-approval-{uuid4().hex[:8]}") as name:
        yield Place(kubectl, name)


@pytest.fixture(scope="module")
def elsewhere(cluster: Cluster, kubectl: Kubectl) -> Iterator[Place]:
    """Another namespace that the operator looks after; its label says what a new resource must be like."""
    with cluster.namespace(f"test-approval-{uuid4().hex[:8]}") as name:
        kubectl.run("label", "namespace", name, "slipway.dev/approval=Destructive")
        yield Place(kubectl, name)


@pytest.fixture(scope="module")
def unguarded(cluster: Cluster, kubectl: Kubectl) -> Iterator[Place]:
    with cluster.namespace(f"test-approval-{uuid4().hex[:8]}") as name:
        yield Place(kubectl, name)


@pytest.fixture(scope="module", autouse=True)
def policy(cluster: Cluster, kubectl: Kubectl, home: Place, elsewhere: Place) -> Iterator[None]:
    """Of a release in `home`, whose operator looks after `elsewhere` too."""
    lint = {"failOn": "Error", "ignore": ["prefer-text-field"]}
    values = {
        "migrations": {"approval": "Destructive", "lint": lint, "backup": {"cronJobName": "dump"}},
        "operator": {"scope": "namespaces", "namespaces": [elsewhere.namespace]},
    }
    objects = Renderer(cluster.helm.path).objects(merged(DEMO, values), namespace=home.namespace)
    made = [one for one in objects.all if one["kind"].startswith("ValidatingAdmissionPolicy")]
    for one in made:  # they are in no namespace
        kubectl.run("apply", "--server-side", "--filename=-", input=yaml.safe_dump(one))
    until(lambda: not allowed(elsewhere, DEPLOYER, {"spec": {"approval": "Never"}}), 30)
    yield
    for one in made:
        kubectl.run("delete", f"{one['kind'].lower()}/{one['metadata']['name']}")


def allowed(place: Place, who: str, change: dict[str, Any]) -> bool:
    try:
        place.patch(who, change)
    except CommandError:
        return False
    return True


@pytest.mark.parametrize("change", LOOSER.values(), ids=LOOSER)
def test_who_may_not_approve_loosens_nothing(home: Place, elsewhere: Place, change: dict[str, Any]) -> None:
    for place in (home, elsewhere):
        with pytest.raises(CommandError, match="takes the right to the verb approve"):
            place.patch(DEPLOYER, {"spec": change})
        place.patch(APPROVER, {"spec": change})


@pytest.mark.parametrize("change", LOOSER.values(), ids=LOOSER)
def test_one_that_was_deleted_comes_back_as_strict_as_it_was(home: Place, change: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="takes the right to the verb approve"):
        home.create(DEPLOYER, **change)
    home.create(APPROVER, **change)


def test_elsewhere_a_new_one_is_as_strict_as_the_namespaces_label_says(elsewhere: Place) -> None:
    elsewhere.create(DEPLOYER, lint={"failOn": "Error", "ignore": None}, backup=None)
    for change in ({"approval": "Never"}, {"lint": {"failOn": "Never", "ignore": None}}):
        with pytest.raises(CommandError, match="takes the right to the verb approve"):
            elsewhere.create(DEPLOYER, **change)


@pytest.mark.parametrize("change", AS_STRICT.values(), ids=AS_STRICT)
def test_a_deployment_goes_on_as_ever(home: Place, change: dict[str, Any]) -> None:
    home.patch(DEPLOYER, {"spec": change})
    home.create(DEPLOYER, **change)


def test_an_approval_is_kept_by_who_may_not_give_one(home: Place, kubectl: Kubectl) -> None:
    approve = {"spec": {"approve": DIGEST}}
    try:
        kubectl.run("patch", "sm/slipway", "--type=merge", f"--patch={json.dumps(approve)}", f"-n{home.namespace}")
        home.patch(DEPLOYER, {"spec": {"image": "registry.example/slipway:0.2.0"}})
        home.patch(DEPLOYER, {"spec": {"approve": None}})
        with pytest.raises(CommandError, match=r"spec\.approve lets a plan run"):
            home.patch(DEPLOYER, {"spec": {"approve": f"sha256:{'1' * 64}"}})
    finally:
        kubectl.run("patch", "sm/slipway", "--type=merge", '--patch={"spec":{"approve":null}}', f"-n{home.namespace}")


def test_only_the_operator_tells_what_it_saw(home: Place, kubectl: Kubectl) -> None:
    operator = f"system:serviceaccount:{home.namespace}:slipway-operator"
    told = {"status": {"plan": {"digest": DIGEST}, "done": ["plan"]}}
    kubectl.apply(
        [
            {**each, "subjects": [{"kind": "User", "name": operator, "apiGroup": GROUP}]}
            if "subjects" in each
            else each
            for each in roles("operator", ["get", "patch"])
        ],
        home.namespace,
    )
    with pytest.raises(CommandError, match="the operator goes by what it wrote into status"):
        home.patch(DEPLOYER, told, "--subresource=status")
    home.patch(operator, told, "--subresource=status")


@pytest.mark.parametrize("change", LOOSER.values(), ids=LOOSER)
def test_without_the_policy_nobody_is_asked(unguarded: Place, change: dict[str, Any]) -> None:
    unguarded.patch(DEPLOYER, {"spec": change})
