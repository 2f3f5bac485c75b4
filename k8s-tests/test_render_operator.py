"""The operator and its wish: what the chart asks of it, its pod and network, and who may approve."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from charts.render import DEMO, EXAMPLES, PRODUCTION, Document, Objects, Renderer, merged

CLUSTER_WIDE = {"operator": {"scope": "cluster"}}
APPROVED = {"migrations": {"approval": "Destructive"}}
ALEMBIC = yaml.safe_load(EXAMPLES["foreign-image"].read_text())


@pytest.fixture(scope="module")
def production(renderer: Renderer) -> Objects:
    return renderer.objects(PRODUCTION)


def wish(objects: Objects) -> Document:
    (migration,) = objects.of_kind("SchemaMigration")
    spec: Document = migration["spec"]
    return spec


def pod_of(objects: Objects, name: str) -> Document:
    spec: Document = objects.one("Deployment", name)["spec"]["template"]["spec"]
    return spec


def environment(container: Document) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


# The wish


def test_the_wish_names_the_image_the_pods_and_the_owners_login(production: Objects) -> None:
    spec = wish(production)
    (container,) = pod_of(production, "slipway")["containers"]
    assert spec["image"] == container["image"]
    assert spec["workload"] == {"name": "slipway", "container": container["name"]}
    assert spec["database"] == {"secretName": "database-owner"}
    assert spec["budget"] == "1h0m0s"
    assert production.of_kind("Job") == []


@pytest.mark.parametrize("key", ["tag", "digest"])
def test_another_image_is_another_wish(renderer: Renderer, production: Objects, key: str) -> None:
    changed = renderer.objects(merged(PRODUCTION, {"image": {key: "sha256:" + "a" * 64 if key == "digest" else "2"}}))
    assert wish(changed)["image"] != wish(production)["image"]
    assert wish(changed)["image"] == pod_of(changed, "slipway")["containers"][0]["image"]


def selected(selector: Document, labels: dict[str, str]) -> bool:
    expressions = all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))
    return selector["matchLabels"].items() <= labels.items() and expressions


def test_the_pods_that_use_the_database_are_those_of_api_and_worker(renderer: Renderer) -> None:
    objects = renderer.objects({"demo": True, "autoscaling": {"enabled": True}})
    selector = wish(objects)["consumers"]["selector"]
    found = {name for name, pod in objects.pods().items() if selected(selector, pod["metadata"]["labels"])}
    assert found == {"Deployment/slipway", "Deployment/slipway-worker"}
    elsewhere = renderer.objects(DEMO, release="another").pods()["Deployment/another-slipway"]
    assert not selected(selector, elsewhere["metadata"]["labels"])


def test_what_people_set_is_never_rendered(renderer: Renderer) -> None:
    for approval in ("Never", "Destructive", "Always"):
        spec = wish(renderer.objects(merged(PRODUCTION, {"migrations": {"approval": approval}})))
        assert not {"approve", "suspend"} & spec.keys()


def test_a_rule_that_is_ignored_twice_is_written_once(renderer: Renderer) -> None:
    ignored = {"migrations": {"lint": {"ignore": ["prefer-text-field", "prefer-text-field"]}}}
    assert wish(renderer.objects(merged(PRODUCTION, ignored)))["lint"]["ignore"] == ["prefer-text-field"]


def test_the_container_has_what_the_operators_jobs_take_from_it(renderer: Renderer) -> None:
    given = {"migrations": {"grantTo": "harbour"}, "database": {"tls": {"existingSecret": "ca"}}}
    (container,) = pod_of(renderer.objects(merged(PRODUCTION, given)), "slipway")["containers"]
    assert environment(container)["SLIPWAY_DATABASE_GRANT_TO"] == "harbour"
    assert environment(container)["SLIPWAY_DATABASE_TLS"] == "verify-full"
    assert environment(container)["SLIPWAY_DATABASE_CA_FILE"].endswith("/database-ca/ca.crt")
    by_a_job = renderer.objects(merged(PRODUCTION, merged(given, {"migrations": {"mode": "job"}})))
    assert "SLIPWAY_DATABASE_GRANT_TO" not in environment(pod_of(by_a_job, "slipway")["containers"][0])


def test_a_rollout_may_wait_for_as_long_as_its_migration_takes(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, {"migrations": {"budgetSeconds": 5400}}))
    assert wish(objects)["budget"] == "1h30m0s"
    for name in ("slipway", "slipway-worker"):
        assert objects.one("Deployment", name)["spec"]["progressDeadlineSeconds"] == 6000


def test_with_plain_alembic_pods_wait_by_the_operators_script(renderer: Renderer) -> None:
    no_probes = {"startup": None, "liveness": None, "readiness": None}
    objects = renderer.objects(merged(ALEMBIC, {"worker": {"enabled": True, "probes": no_probes}}))
    assert wish(objects)["config"] == "/app/alembic.ini"
    assert "command" not in wish(objects)
    for name in ("slipway", "slipway-worker"):
        pod = pod_of(objects, name)
        (waiting,) = pod["initContainers"]
        assert waiting["command"] == [
            "python",
            "/var/run/slipway/plain_alembic.py",
            "--config=/app/alembic.ini",
            "wait",
        ]
        (mount,) = [m for m in waiting["volumeMounts"] if m["mountPath"] == "/var/run/slipway"]
        (volume,) = [v for v in pod["volumes"] if v["name"] == mount["name"]]
        # Not optional: until the operator has made it, the pod waits for it.
        assert volume["configMap"] == {"name": "slipway-script", "defaultMode": 0o444}
        assert mount not in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ({}, ["slipway", "db", "wait"]),
        ({"runner": ["harbour", "db"]}, ["harbour", "db", "wait"]),
        ({"config": "/app/alembic.ini", "waitCommand": ["mine"]}, ["mine"]),
        ({"mode": "job"}, ["slipway", "db", "wait"]),
        ({"waitCommand": []}, None),
        ({"mode": "off", "waitCommand": ["mine"]}, None),
    ],
    ids=str,
)
def test_pods_wait_by_what_the_values_say_or_not_at_all(
    renderer: Renderer, values: dict[str, Any], command: list[str] | None
) -> None:
    pod = pod_of(renderer.objects(merged(PRODUCTION, {"migrations": values})), "slipway")
    assert [waiting["command"] for waiting in pod.get("initContainers", [])] == ([command] if command else [])


def by_hand(renderer: Renderer, values: Document) -> tuple[Document, Objects]:
    """The Job for a person, and what the release has without it."""
    asked = renderer.objects(merged(values, {"migrations": {"byHand": ["plan"]}}))
    released = renderer.objects(values)
    (job,) = [job for job in asked.of_kind("Job") if "generateName" in job["metadata"]]
    return job, released


@pytest.mark.parametrize(
    ("values", "command"),
    [
        (DEMO, ["slipway", "db", "plan"]),
        (ALEMBIC, ["python", "/var/run/slipway/plain_alembic.py", "--config=/app/alembic.ini", "plan"]),
        (merged(DEMO, {"migrations": {"runner": ["harbour", "db"]}}), ["harbour", "db", "plan"]),
        (merged(DEMO, {"migrations": {"mode": "job"}}), ["slipway", "db", "plan"]),
    ],
    ids=["operator", "alembic", "runner", "job"],
)
def test_by_hand_a_job_runs_once_as_the_owner_with_what_the_release_has(
    renderer: Renderer, values: Document, command: list[str]
) -> None:
    job, released = by_hand(renderer, values)
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert (container["command"], job["spec"]["backoffLimit"]) == (command, 0)
    # Nameless: as often as wanted by `kubectl create`, and never by an install.
    assert "name" not in job["metadata"]
    accounts = {account["metadata"]["name"] for account in released.of_kind("ServiceAccount")}
    assert pod["spec"]["serviceAccountName"] in accounts
    (owner,) = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "database"]
    assert owner["secretName"].endswith("-owner")
    scripts = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "migration-script"]
    assert bool(scripts) == ("plain_alembic" in str(command))
    policies = [policy["spec"]["podSelector"] for policy in released.of_kind("NetworkPolicy")]
    labels = pod["metadata"]["labels"]
    assert sum(selector["matchLabels"].items() <= labels.items() for selector in policies) == 1
    # The operator takes Jobs with this label for its own.
    assert "slipway.dev/schemamigration" not in job["metadata"]["labels"]


# Its network


def test_the_operators_jobs_reach_the_database_and_nothing_else(production: Objects) -> None:
    policy = production.one("NetworkPolicy", "slipway-migrate")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"slipway.dev/schemamigration": "slipway"}
    ports = [{port["port"] for port in rule["ports"]} for rule in policy["egress"]]
    assert (policy["policyTypes"], ports) == (["Ingress", "Egress"], [{53}, {5432}])


def test_a_backup_goes_where_its_cron_job_sends_it(production: Objects) -> None:
    selector = production.one("NetworkPolicy", "slipway-migrate")["spec"]["podSelector"]
    (expression,) = selector["matchExpressions"]
    assert expression == {"key": "slipway.dev/purpose", "operator": "NotIn", "values": ["backup"]}


def test_only_prometheus_reaches_the_operator(renderer: Renderer, production: Objects) -> None:
    (rule,) = production.one("NetworkPolicy", "slipway-operator")["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["ops"]
    assert [peer["podSelector"]["matchLabels"] for peer in rule["from"]] == [{"app.kubernetes.io/name": "prometheus"}]
    nobody = renderer.objects(merged(PRODUCTION, {"networkPolicy": {"opsFrom": []}}))
    # A rule without peers would let everybody in.
    assert "ingress" not in nobody.one("NetworkPolicy", "slipway-operator")["spec"]


# Its pod


def test_one_operator_runs_at_a_time_and_looks_after_its_namespace(renderer: Renderer, production: Objects) -> None:
    spec = production.one("Deployment", "slipway-operator")["spec"]
    (container,) = pod_of(production, "slipway-operator")["containers"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert container["image"] == "slipway-operator:0.1.0"
    assert container["command"] == ["slipway-operator", "run"]
    assert environment(container)["SLIPWAY_OPERATOR_NAMESPACES"] == "ships"
    assert container["resources"]["limits"] == {"memory": "192Mi"}
    everywhere = renderer.objects(merged(PRODUCTION, CLUSTER_WIDE))
    (container,) = pod_of(everywhere, "slipway-operator")["containers"]
    assert environment(container)["SLIPWAY_OPERATOR_NAMESPACES"] == ""


def test_the_operator_is_asked_whether_it_lives_before_it_is_asked_whether_it_is_ready(production: Objects) -> None:
    (container,) = pod_of(production, "slipway-operator")["containers"]
    assert {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")} == {
        "startup": {"path": "/livez", "port": "ops"},
        "liveness": {"path": "/livez", "port": "ops"},
        "readiness": {"path": "/readyz", "port": "ops"},
    }
    assert environment(container)["SLIPWAY_OPERATOR_OPS_PORT"] == str(container["ports"][0]["containerPort"])
    # Who it is, whom it believes to be the API server, and where it is.
    (token,) = [volume for volume in pod_of(production, "slipway-operator")["volumes"] if volume["name"] == "token"]
    assert [next(iter(source)) for source in token["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, True),
        ({"operator": {"enabled": False}}, False),
        ({"migrations": {"mode": "job"}}, False),
        ({"migrations": {"mode": "job"}, "operator": {"enabled": True}}, True),
        ({"migrations": {"mode": "off"}}, False),
    ],
    ids=str,
)
def test_the_operator_comes_where_it_is_needed_or_asked_for(
    renderer: Renderer, values: dict[str, Any], *, there: bool
) -> None:
    objects = renderer.objects(merged(PRODUCTION, values))
    found = {d["kind"] for d in objects.all if d["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"}
    expected = {"Deployment", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Service"}
    assert found == (expected if there else set())


# Who may approve


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, False),
        (APPROVED, True),
        ({**APPROVED, "operator": {"enabled": False}}, True),
        ({**APPROVED, "operator": {"approvalPolicy": {"enabled": False}}}, False),
        ({"operator": {"approvalPolicy": {"enabled": True}}}, True),
        ({"migrations": {"approval": "Always", "mode": "job"}}, False),
    ],
    ids=str,
)
def test_approval_is_guarded_where_there_is_any(renderer: Renderer, values: dict[str, Any], *, there: bool) -> None:
    objects = renderer.objects(merged(PRODUCTION, values))
    policies = objects.of_kind("ValidatingAdmissionPolicy")
    bindings = objects.of_kind("ValidatingAdmissionPolicyBinding")
    assert len(policies) == len(bindings) == there
    for policy, binding in zip(policies, bindings, strict=True):
        assert policy["metadata"]["name"] == binding["metadata"]["name"] == "ships.slipway-approve"
        assert binding["spec"]["policyName"] == policy["metadata"]["name"]
        assert binding["spec"]["validationActions"] == ["Deny"]
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] == ["CREATE", "UPDATE"]
        assert all("variables.approver" in rule["expression"] for rule in policy["spec"]["validations"])


def guarded(objects: Objects) -> Document | None:
    (binding,) = objects.of_kind("ValidatingAdmissionPolicyBinding")
    selector: Document | None = binding["spec"].get("matchResources")
    return selector


def test_the_guard_is_where_the_operator_is(renderer: Renderer) -> None:
    def inside(*namespaces: str) -> Document:
        name = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
        return {"namespaceSelector": {"matchExpressions": [name]}}

    own = inside("ships")
    assert guarded(renderer.objects(merged(PRODUCTION, APPROVED))) == own
    several = {**APPROVED, "operator": {"scope": "namespaces", "namespaces": ["harbour", "ships"]}}
    assert guarded(renderer.objects(merged(PRODUCTION, several))) == inside("ships", "harbour")
    assert guarded(renderer.objects(merged(PRODUCTION, {**APPROVED, **CLUSTER_WIDE}))) is None
    elsewhere = {**APPROVED, "operator": {"scope": "cluster", "enabled": False}}
    assert guarded(renderer.objects(merged(PRODUCTION, elsewhere))) == own


def test_releases_of_the_same_name_share_nothing_of_the_cluster(renderer: Renderer) -> None:
    values = merged(PRODUCTION, {**APPROVED, **CLUSTER_WIDE})

    def of_the_cluster(namespace: str) -> set[str]:
        objects = renderer.objects(values, namespace=namespace).all
        return {document["metadata"]["name"] for document in objects if "namespace" not in document["metadata"]}

    assert len(of_the_cluster("ships")) == 2
    assert not of_the_cluster("ships") & of_the_cluster("harbour")


# What people are told


def test_the_notes_say_where_to_look_at_a_migration(renderer: Renderer) -> None:
    notes = renderer.notes(DEMO)
    assert "kubectl get schemamigrations --namespace ships" in notes
    assert "kubectl describe sm slipway --namespace ships" in notes
    assert "operator.enabled is off" not in notes
    assert "another operator must look after" in renderer.notes(merged(DEMO, {"operator": {"enabled": False}}))
    assert "schemamigrations" not in renderer.notes(merged(DEMO, {"migrations": {"mode": "job"}}))
