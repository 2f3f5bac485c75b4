"""Keys and logins that rotate: what the chart asks of the operator, which pods hold them, and who reaches whom."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from charts.render import DEMO, EXAMPLES, PRODUCTION, Document, Objects, Renderer, merged

BROUGHT = {"signingKeys": {"existingSecret": "keys"}}
OWN_DATABASE = {"database": {"existingSecret": "database"}, "migrations": {"existingSecret": "owner"}}
FOREIGN_CLUSTER = {"operator": {"scope": "cluster"}}


@pytest.fixture(scope="module")
def demo(renderer: Renderer) -> Objects:
    return renderer.objects(DEMO)


@pytest.fixture(scope="module")
def production(renderer: Renderer) -> Objects:
    return renderer.objects(yaml.safe_load(EXAMPLES["production"].read_text()))


def kinds(objects: Objects) -> list[str]:
    return [kind for kind in ("KeyRing", "DatabaseLogin") if objects.of_kind(kind)]


def mounted(objects: Objects, workload: str) -> dict[str, str]:
    """Secret by the folder that it is seen in, for every container of a Deployment's pod alike."""
    pod = objects.one("Deployment", workload)["spec"]["template"]["spec"]
    sources = {
        volume["name"]: volume["projected"]["sources"][0]["secret"]["name"]
        for volume in pod["volumes"]
        if "projected" in volume
    }
    seen = [
        {
            mount["mountPath"].rpartition("/")[2]: sources[mount["name"]]
            for mount in container["volumeMounts"]
            if mount["name"] in sources
        }
        for container in [*pod["initContainers"], *pod["containers"]]
    ]
    assert seen[0] == seen[-1], "the gate logs in as the service does"
    return seen[0]


@pytest.mark.parametrize(
    ("values", "rotating"),
    [
        (DEMO, ["KeyRing", "DatabaseLogin"]),
        (merged(DEMO, BROUGHT), ["DatabaseLogin"]),
        (merged(DEMO, OWN_DATABASE), ["KeyRing"]),
        (merged(DEMO, {"migrations": {"mode": "job"}}), []),
        (merged(DEMO, {"migrations": {"mode": "job"}, "operator": {"enabled": True}}), ["KeyRing", "DatabaseLogin"]),
        # While the operator is away nothing rotates, but pods go on with what it made.
        (merged(DEMO, {"operator": {"enabled": False}}), ["KeyRing", "DatabaseLogin"]),
        (merged(DEMO, {"keyRing": {"enabled": False}, "databaseLogin": {"enabled": False}}), []),
        (PRODUCTION, []),
    ],
    ids=str,
)
def test_the_try_out_rotates_what_nobody_brings_where_there_is_an_operator(
    renderer: Renderer, values: dict[str, Any], rotating: list[str]
) -> None:
    assert kinds(renderer.objects(values)) == rotating


@pytest.mark.parametrize("workload", ["slipway", "slipway-worker"])
def test_api_worker_and_gate_hold_what_the_operator_writes(renderer: Renderer, demo: Objects, workload: str) -> None:
    held = mounted(demo, workload)
    assert held["signing-keys"] == demo.one("KeyRing", "slipway")["spec"]["secretName"] == "slipway-keyring"
    assert held["database"] == demo.one("DatabaseLogin", "slipway")["spec"]["secretName"] == "slipway-login"
    assert not {"slipway-keyring", "slipway-login"} & {secret["metadata"]["name"] for secret in demo.of_kind("Secret")}
    fixed = mounted(renderer.objects(merged(DEMO, {"migrations": {"mode": "job"}})), workload)
    assert (fixed["signing-keys"], fixed["database"]) == ("slipway-signing-keys", "slipway-database")


def test_in_the_demo_the_services_role_logs_in_only_where_nobody_rotates(renderer: Renderer, demo: Objects) -> None:
    assert "CREATE ROLE slipway_app NOLOGIN;" in demo.one("ConfigMap", "slipway-postgresql")["data"]["service-role.sql"]
    by_jobs = renderer.objects(merged(DEMO, {"migrations": {"mode": "job"}}))
    script = by_jobs.one("ConfigMap", "slipway-postgresql")["data"]["service-role.sql"]
    assert "CREATE ROLE slipway_app LOGIN PASSWORD :'password';" in script
    login = demo.one("DatabaseLogin", "slipway")["spec"]
    assert (login["memberOf"], login["roles"]) == ("slipway_app", ["slipway_a", "slipway_b"])


def selected(selector: Document, labels: dict[str, str]) -> bool:
    expressions = all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))
    return selector["matchLabels"].items() <= labels.items() and expressions


def test_the_pods_that_are_asked_are_those_of_api_and_worker_on_their_ops_port(renderer: Renderer) -> None:
    objects = renderer.objects(merged(DEMO, {"ports": {"ops": 9191}, "autoscaling": {"enabled": True}}))
    for kind in ("KeyRing", "DatabaseLogin"):
        consumers = objects.one(kind, "slipway")["spec"]["consumers"]
        pods = objects.pods().items()
        found = {name for name, pod in pods if selected(consumers["selector"], pod["metadata"]["labels"])}
        assert (found, consumers["port"]) == ({"Deployment/slipway", "Deployment/slipway-worker"}, 9191)


def test_what_people_set_is_never_rendered(demo: Objects, production: Objects) -> None:
    for objects in (demo, production):
        for kind in ("KeyRing", "DatabaseLogin"):
            (wish,) = objects.of_kind(kind)
            assert not {"rotateNonce", "revoke", "suspend", "status"} & wish["spec"].keys()


def test_in_production_the_values_say_who_makes_roles_and_what_they_act_as(renderer: Renderer) -> None:
    given = {
        "signingKeys": {"existingSecret": ""},
        "database": {"existingSecret": ""},
        "migrations": {"grantTo": "harbour"},
        "keyRing": {"enabled": True, "tokenLifetime": "30m", "deletionPolicy": "Delete"},
        "databaseLogin": {"enabled": True, "admin": {"existingSecret": "admin"}, "connectionLimit": 60},
    }
    objects = renderer.objects(merged(PRODUCTION, given))
    login, ring = objects.of_kind("DatabaseLogin")[0]["spec"], objects.of_kind("KeyRing")[0]["spec"]
    assert (login["admin"], login["memberOf"], login["connectionLimit"]) == ({"secretName": "admin"}, "harbour", 60)
    assert (ring["tokenLifetime"], ring["deletionPolicy"]) == ("30m", "Delete")
    other = renderer.objects(merged(PRODUCTION, merged(given, {"databaseLogin": {"memberOf": "fleet"}})))
    assert other.of_kind("DatabaseLogin")[0]["spec"]["memberOf"] == "fleet"


def test_evidence_by_time_asks_nobody(renderer: Renderer) -> None:
    by_time = {"signingKeys": {"existingSecret": ""}, "keyRing": {"enabled": True, "evidence": "Time"}}
    (ring,) = renderer.objects(merged(PRODUCTION, by_time)).of_kind("KeyRing")
    assert (ring["spec"]["evidence"], "consumers" in ring["spec"]) == ("Time", False)


def ways(objects: Objects) -> dict[int | str, list[Document] | None]:
    """Where the operator may go, by port; None stands for anywhere."""
    policy = objects.one("NetworkPolicy", "slipway-operator")["spec"]
    return {port["port"]: rule.get("to") for rule in policy["egress"] for port in rule["ports"]}


def test_the_operator_reaches_the_pods_that_report_and_the_database_where_it_changes_logins(
    renderer: Renderer, demo: Objects
) -> None:
    found = ways(demo)
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in found[9090] or []] == [
        "api",
        "worker",
    ]
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in found[5432] or []] == [
        "postgresql"
    ]
    neither = ways(renderer.objects(PRODUCTION))
    assert not {9090, 5432} & neither.keys()
    no_login = ways(renderer.objects(merged(DEMO, {"databaseLogin": {"enabled": False}})))
    assert 9090 in no_login
    assert 5432 not in no_login


def test_an_operator_of_the_whole_cluster_reaches_pods_and_databases_of_any_namespace(renderer: Renderer) -> None:
    found = ways(renderer.objects(merged(DEMO, FOREIGN_CLUSTER)))
    assert (found[9090], found[5432]) == (None, None)


def test_the_notes_name_what_rotates(renderer: Renderer) -> None:
    assert "kubectl get keyrings,databaselogins --namespace ships" in renderer.notes(DEMO)
    assert "keyrings" not in renderer.notes(PRODUCTION)
    elsewhere = {"operator": {"enabled": False}, "keyRing": {"enabled": True}}
    assert "pods wait for keys and logins that nobody makes" in renderer.notes(merged(DEMO, elsewhere))
    deleting = {"signingKeys": {"existingSecret": ""}, "keyRing": {"enabled": True, "deletionPolicy": "Delete"}}
    assert "keyRing.deletionPolicy=Delete" in renderer.notes(merged(PRODUCTION, deleting))


def test_an_address_completes_each_login_of_operator_jobs_and_pods(renderer: Renderer) -> None:
    address = "postgresql://acid-ships:5432/shop?sslmode=verify-full"
    login = {"enabled": True, "admin": {"existingSecret": "admin"}, "memberOf": "shop"}
    of_the_chart = {"database": {"existingSecret": "", "address": address}, "databaseLogin": login}
    rotated = renderer.objects(merged(PRODUCTION, of_the_chart))
    assert rotated.one("DatabaseLogin", "slipway")["spec"]["admin"] == {"secretName": "admin", "address": address}
    by_jobs = renderer.objects(merged(PRODUCTION, {"database": {"address": address}, "migrations": {"mode": "job"}}))
    logged_in = [
        {one["name"]: one.get("value") for one in container.get("env", [])}
        for objects in (rotated, by_jobs)
        for pod in objects.pods().values()
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    ]
    told = [env for env in logged_in if "SLIPWAY_DATABASE_CREDENTIALS_DIR" in env]
    assert len(told) > 6
    assert {env.get("SLIPWAY_DATABASE_URL") for env in told} == {address}
