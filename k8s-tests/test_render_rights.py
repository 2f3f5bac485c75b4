"""What the operator may do: what it does, and nothing else; Secrets by name where it looks after one namespace."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from charts.render import CHART, DEMO, EXAMPLES, PRODUCTION, Document, Objects, Renderer, merged

CLUSTER_WIDE = {"operator": {"scope": "cluster"}}
LOGIN = {"enabled": True, "admin": {"existingSecret": "database-admin"}, "memberOf": "app"}
ONLY_KEYS = {"signingKeys": {"existingSecret": ""}, "keyRing": {"enabled": True}}
ONLY_LOGIN = {"database": {"existingSecret": ""}, "databaseLogin": LOGIN}

Rights = dict[tuple[str, str], set[str]]

LEASE = ("coordination.k8s.io", "leases slipway-operator")
RULES: Rights = {
    ("slipway.dev", "schemamigrations"): {"get", "list", "watch"},
    ("slipway.dev", "keyrings"): {"get", "list", "watch"},
    ("slipway.dev", "databaselogins"): {"get", "list", "watch"},
    ("slipway.dev", "schemamigrations/status"): {"patch"},
    ("slipway.dev", "keyrings/status"): {"patch"},
    ("slipway.dev", "databaselogins/status"): {"patch"},
    ("batch", "jobs"): {"list", "watch", "create", "delete"},
    ("", "pods"): {"list"},
    ("", "pods/log"): {"get"},
    ("", "events"): {"list", "create"},
    ("apps", "deployments"): {"get"},
    ("batch", "cronjobs"): {"get"},
    ("", "configmaps"): {"get", "create", "patch"},
    LEASE: {"get", "list", "watch", "create", "patch", "update"},
}
ROTATING: Rights = {
    ("", "secrets"): {"create"},
    ("", "pods/status"): {"patch"},
    ("apps", "deployments"): {"list"},
    ("apps", "statefulsets"): {"list"},
    ("apps", "daemonsets"): {"list"},
    ("apps", "replicasets"): {"list"},
    ("batch", "cronjobs"): {"list"},
}
WRITTEN, READ = {"get", "watch", "patch"}, {"get"}


def together(*rights: Rights) -> Rights:
    found: Rights = {}
    for key, verbs in (item for each in rights for item in each.items()):
        found[key] = found.get(key, set()) | verbs
    return found


def granted(role: Document) -> Rights:
    """Verbs by group and resource, with an object's name where a rule is about that one only."""
    return together(
        *(
            {(group, " ".join([resource, *name])): set(rule["verbs"])}
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in ([[each] for each in rule.get("resourceNames", [])] or [[]])
        )
    )


def secrets(**verbs: set[str]) -> Rights:
    """By the Secret's name, with _ for -."""
    return {("", f"secrets {name.replace('_', '-')}"): each for name, each in verbs.items()}


@pytest.fixture(scope="module")
def production(renderer: Renderer) -> Objects:
    return renderer.objects(PRODUCTION)


def test_without_keys_and_logins_it_reaches_no_secret(production: Objects) -> None:
    (role,), (binding,) = production.of_kind("Role"), production.of_kind("RoleBinding")
    assert granted(role) == RULES
    assert not production.of_kind("ClusterRole") + production.of_kind("ClusterRoleBinding")
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == ("slipway-operator", "slipway-operator")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (ONLY_KEYS, secrets(slipway_keyring=WRITTEN)),
        (ONLY_LOGIN, secrets(slipway_login=WRITTEN, database_admin=READ, database_owner=READ)),
        (
            merged(ONLY_KEYS, ONLY_LOGIN),
            secrets(slipway_keyring=WRITTEN, slipway_login=WRITTEN, database_admin=READ, database_owner=READ),
        ),
    ],
    ids=["keys", "login", "both"],
)
def test_in_its_namespace_it_may_do_what_it_does_with_the_secrets_that_it_knows(
    renderer: Renderer, values: dict[str, Any], named: Rights
) -> None:
    (role,) = renderer.objects(merged(PRODUCTION, values)).of_kind("Role")
    assert granted(role) == together(RULES, ROTATING, named)


def test_in_the_demo_the_schema_owners_login_makes_the_roles(renderer: Renderer) -> None:
    (role,) = renderer.objects(DEMO).of_kind("Role")
    named = secrets(slipway_keyring=WRITTEN, slipway_login=WRITTEN, slipway_database_owner=READ)
    assert granted(role) == together(RULES, ROTATING, named)


def test_secrets_have_the_names_that_the_wishes_have(renderer: Renderer) -> None:
    objects = renderer.objects(yaml.safe_load(EXAMPLES["production"].read_text()), release="ships")
    (ring,), (login,) = (objects.of_kind(kind) for kind in ("KeyRing", "DatabaseLogin"))
    spec, rights = login["spec"], granted(objects.one("Role", "ships-slipway-operator"))
    for name in (ring["spec"]["secretName"], spec["secretName"]):
        assert rights[("", f"secrets {name}")] == WRITTEN
    assert rights[("", f"secrets {spec['admin']['secretName']}")] == READ


def test_for_the_whole_cluster_it_has_one_role_and_a_lease_more(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, CLUSTER_WIDE))
    (everywhere,), (binding,) = (objects.of_kind(k) for k in ("ClusterRole", "ClusterRoleBinding"))
    home = {("coordination.k8s.io", "leases slipway-operator-cluster"): RULES[LEASE]}
    assert granted(everywhere) == together(RULES, ROTATING, home, {("", "secrets"): WRITTEN})
    assert not objects.of_kind("Role") + objects.of_kind("RoleBinding")
    assert everywhere["metadata"]["name"] == binding["metadata"]["name"] == "ships:slipway-operator"
    assert binding["roleRef"]["name"] == everywhere["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway-operator", "namespace": "ships"}]


def unexplained(template: str) -> list[str]:
    """Rules of a template without a comment right above them."""
    lines = template.splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip().startswith("- apiGroups:")]
    return [lines[number] for number in starts if not lines[number - 1].strip().startswith("#")]


def test_every_right_has_its_reason_beside_it() -> None:
    text = (CHART / "templates" / "operator" / "rbac.yaml").read_text()
    assert len(re.findall("- apiGroups:", text)) > len(ROTATING)
    assert unexplained(text) == []
    assert unexplained(text.replace("# the version that", "the version that")) == ["- apiGroups: [coordination.k8s.io]"]
