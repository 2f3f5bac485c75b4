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


SEVERAL = {"operator": {"scope": "namespaces", "namespaces": ["harbour", "yard"]}}
HARBOUR: Document = {
    "namespace": "harbour",
    "secrets": ["harbour-keys", "harbour-login"],
    "reads": ["harbour-admin"],
    "pods": {"matchLabels": {"app": "harbour"}},
    "ports": [8081, "metrics"],
    "database": {"to": [{"ipBlock": {"cidr": "2001:db8::/64"}}], "ports": [6432]},
}


def with_services(*services: Document, **operator: Any) -> dict[str, Any]:
    return merged(PRODUCTION, {"operator": {**operator, "services": list(services)}})


def test_in_each_of_several_namespaces_it_has_a_role_of_its_own(renderer: Renderer) -> None:
    objects = renderer.objects(merged(DEMO, SEVERAL))
    roles = {role["metadata"]["namespace"]: role for role in objects.of_kind("Role")}
    bindings = {binding["metadata"]["namespace"]: binding for binding in objects.of_kind("RoleBinding")}
    assert set(roles) == set(bindings) == {"ships", "harbour", "yard"}
    assert not objects.of_kind("ClusterRole") + objects.of_kind("ClusterRoleBinding")
    # The release's own Secrets are in its own namespace; elsewhere it has none that nobody named.
    assert granted(roles["ships"]) == granted(renderer.objects(DEMO).of_kind("Role")[0])
    assert granted(roles["harbour"]) == granted(roles["yard"]) == RULES
    for namespace, binding in bindings.items():
        assert binding["roleRef"]["name"] == roles[namespace]["metadata"]["name"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway-operator", "namespace": "ships"}]
    # Another release's operator may be at home there, with a Role of this release's very name.
    assert roles["harbour"]["metadata"]["name"] == "ships:slipway-operator" != roles["ships"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "watched"),
    [
        ({}, "ships"),
        (SEVERAL, "ships,harbour,yard"),
        ({"operator": {"scope": "namespaces", "namespaces": ["ships", "yard"]}}, "ships,yard"),
        (CLUSTER_WIDE, ""),
    ],
    ids=["its own", "several", "its own named too", "all"],
)
def test_it_watches_where_it_has_its_rights(renderer: Renderer, values: dict[str, Any], watched: str) -> None:
    objects = renderer.objects(merged(PRODUCTION, values))
    (container,) = objects.one("Deployment", "slipway-operator")["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["SLIPWAY_OPERATOR_NAMESPACES"] == watched
    assert {role["metadata"]["namespace"] for role in objects.of_kind("Role")} == set(filter(None, watched.split(",")))


def test_secrets_of_other_services_are_its_business_once_they_are_named(renderer: Renderer) -> None:
    (role,) = renderer.objects(with_services({"secrets": ["mine"], "reads": ["mine-admin"]})).of_kind("Role")
    assert granted(role) == together(RULES, ROTATING, secrets(mine=WRITTEN, mine_admin=READ))
    objects = renderer.objects(merged(with_services(HARBOUR), SEVERAL))
    roles = {role["metadata"]["namespace"]: granted(role) for role in objects.of_kind("Role")}
    named = secrets(harbour_keys=WRITTEN, harbour_login=WRITTEN, harbour_admin=READ)
    assert roles == {"ships": RULES, "harbour": together(RULES, ROTATING, named), "yard": RULES}


def test_a_secret_that_is_named_twice_is_there_once(renderer: Renderer) -> None:
    twice = {"secrets": ["slipway-keyring"], "reads": ["slipway-database-owner"]}
    (role,) = renderer.objects(merged(DEMO, {"operator": {"services": [twice, twice]}})).of_kind("Role")
    names = [rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule]
    assert all(len(each) == len(set(each)) for each in names)


def ways(objects: Objects) -> list[Document]:
    egress: list[Document] = objects.one("NetworkPolicy", "slipway-operator")["spec"]["egress"]
    return egress


def test_pods_of_other_services_are_reached_where_they_are_named(renderer: Renderer) -> None:
    usual = ways(renderer.objects(PRODUCTION))
    here = {"pods": {"matchLabels": {"app": "mine"}}}
    asked = {"ports": [{"port": 9090, "protocol": "TCP"}], "to": [{"podSelector": here["pods"]}]}
    assert ways(renderer.objects(with_services(here))) == [*usual, asked]
    there = ways(renderer.objects(merged(with_services(HARBOUR), SEVERAL)))
    assert there[len(usual) :] == [
        {
            "ports": [{"port": 8081, "protocol": "TCP"}, {"port": "metrics", "protocol": "TCP"}],
            "to": [
                {
                    "podSelector": HARBOUR["pods"],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "harbour"}},
                }
            ],
        },
        {"ports": [{"port": 6432, "protocol": "TCP"}], "to": HARBOUR["database"]["to"]},
    ]
    # Secrets alone open nothing.
    assert ways(renderer.objects(with_services({"secrets": ["mine"]}))) == usual


def test_for_the_whole_cluster_a_service_opens_the_ports_that_are_others(renderer: Renderer) -> None:
    objects = renderer.objects(with_services({"namespace": "harbour", "ports": [8081]}, scope="cluster"))
    assert ways(objects)[-1]["ports"] == [{"port": 8081, "protocol": "TCP"}]
    assert len(ways(objects)) == len(ways(renderer.objects(merged(PRODUCTION, CLUSTER_WIDE)))) + 1


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
