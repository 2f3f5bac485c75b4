"""How pods come, go and are counted: rollout, budgets, autoscaling, disruption, migration."""

from __future__ import annotations

from typing import Any

import pytest

from charts.render import DEMO, PRODUCTION, Document, Objects, RefusedError, Renderer, merged
from slipway.settings import Settings

AUTOSCALED = {"autoscaling": {"enabled": True}}
BY_A_JOB = merged(PRODUCTION, {"migrations": {"mode": "job"}})
NO_OPERATOR = {"operator": {"enabled": False}}


@pytest.fixture(scope="module")
def production(renderer: Renderer) -> Objects:
    return renderer.objects(PRODUCTION)


def pod_of(objects: Objects, name: str = "slipway") -> Document:
    spec: Document = objects.one("Deployment", name)["spec"]["template"]["spec"]
    return spec


def environment(objects: Objects, name: str = "slipway") -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod_of(objects, name)["containers"][0]["env"]}


@pytest.mark.parametrize("name", ["slipway", "slipway-worker"])
def test_a_rollout_never_takes_a_pod_before_another_is_there(production: Objects, name: str) -> None:
    strategy = production.one("Deployment", name)["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_a_leaving_pod_sleeps_drains_and_finishes_within_its_grace(renderer: Renderer) -> None:
    rollout = {"preStopSeconds": 7, "drainSeconds": 11, "shutdownSeconds": 13}
    objects = renderer.objects(merged(PRODUCTION, {"rollout": rollout}))
    pod = pod_of(objects)
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert environment(objects)["SLIPWAY_DRAIN"] == "11"
    assert environment(objects)["SLIPWAY_SHUTDOWN_TIMEOUT"] == "13"
    assert pod["terminationGracePeriodSeconds"] == 7 + 11 + 13 + 5


def test_without_pre_stop_there_is_no_hook(renderer: Renderer) -> None:
    pod = pod_of(renderer.objects(merged(PRODUCTION, {"rollout": {"preStopSeconds": 0, "drainSeconds": 0}})))
    assert "lifecycle" not in pod["containers"][0]
    assert pod["terminationGracePeriodSeconds"] == 20


def test_the_least_grace_that_adds_up_is_taken(renderer: Renderer) -> None:
    pod = pod_of(renderer.objects(merged(PRODUCTION, {"rollout": {"terminationGracePeriodSeconds": 40}})))
    assert pod["terminationGracePeriodSeconds"] == 40


def test_the_last_wait_may_be_as_short_as_a_request_is_long(renderer: Renderer) -> None:
    deadline = Settings.model_fields["request_deadline"].default
    objects = renderer.objects(merged(PRODUCTION, {"rollout": {"shutdownSeconds": int(deadline)}}))
    assert environment(objects)["SLIPWAY_SHUTDOWN_TIMEOUT"] == f"{deadline:g}"


def test_a_deadline_that_a_secret_tells_is_the_services_to_judge(renderer: Renderer) -> None:
    told = {"secretKeyRef": {"name": "times", "key": "deadline"}}
    extra = [{"name": "SLIPWAY_REQUEST_DEADLINE", "valueFrom": told}]
    objects = renderer.objects(merged(PRODUCTION, {"rollout": {"shutdownSeconds": 5}, "extraEnv": extra}))
    assert extra[0] in pod_of(objects)["containers"][0]["env"]


def test_a_worker_has_time_for_its_jobs(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, {"worker": {"shutdownSeconds": 50}}))
    assert pod_of(objects, "slipway-worker")["terminationGracePeriodSeconds"] == 55
    assert environment(objects, "slipway-worker")["SLIPWAY_SHUTDOWN_TIMEOUT"] == "50"


def test_probes_ask_the_ops_port_and_only_liveness_looks_at_no_dependency(production: Objects) -> None:
    for name in ("slipway", "slipway-worker"):
        container = pod_of(production, name)["containers"][0]
        assert {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")} == {
            "startup": {"path": "/readyz", "port": "ops"},
            "liveness": {"path": "/livez", "port": "ops"},
            "readiness": {"path": "/readyz", "port": "ops"},
        }


@pytest.mark.parametrize(
    ("values", "most"),
    [({"replicas": 7}, True), ({"replicas": 8}, False), ({"replicas": 9, "worker": {"enabled": False}}, True)],
)
def test_the_connection_budget_is_met_to_the_last_connection(
    renderer: Renderer, values: dict[str, Any], *, most: bool
) -> None:
    # (7 + 1 + 2) * 8 + 2 + 10 = (9 + 1) * 8 + 2 + 10 = 92
    limited = merged(PRODUCTION, {"database": {"maxConnections": 92}, **values})
    if most:
        assert renderer.text(limited)
    else:
        with pytest.raises(RefusedError, match="run out of connections"):
            renderer.text(limited)


def test_pools_are_as_the_budget_reckons(production: Objects) -> None:
    for name in ("slipway", "slipway-worker"):
        assert environment(production, name)["SLIPWAY_DATABASE_POOL_SIZE"] == "5"
        assert environment(production, name)["SLIPWAY_DATABASE_MAX_OVERFLOW"] == "3"


def test_the_demo_server_allows_what_the_budget_says(renderer: Renderer) -> None:
    objects = renderer.objects(merged(DEMO, {"database": {"maxConnections": 150}}))
    pod = objects.one("StatefulSet", "slipway-postgresql")["spec"]["template"]["spec"]
    assert "max_connections=150" in pod["containers"][0]["args"]


def test_the_autoscaler_alone_says_how_many_pods(renderer: Renderer, production: Objects) -> None:
    assert production.one("Deployment", "slipway")["spec"]["replicas"] == 2
    assert production.of_kind("HorizontalPodAutoscaler") == []
    scaled = renderer.objects(merged(PRODUCTION, AUTOSCALED))
    assert "replicas" not in scaled.one("Deployment", "slipway")["spec"]
    (autoscaler,) = scaled.of_kind("HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "slipway"}
    assert [metric["resource"]["name"] for metric in autoscaler["spec"]["metrics"]] == ["cpu"]


def test_the_hand_over_may_do_nothing_but_hold_the_number_of_pods(renderer: Renderer, production: Objects) -> None:
    objects = renderer.objects(merged(PRODUCTION, {**AUTOSCALED, **NO_OPERATOR}))
    (role,) = objects.of_kind("Role")
    assert role["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments/scale"],
            "resourceNames": ["slipway"],
            "verbs": ["get", "patch"],
        }
    ]
    assert [role["metadata"]["name"] for role in production.of_kind("Role")] == ["slipway-operator"]
    without = {"autoscaling": {"enabled": True, "handOver": False}, **NO_OPERATOR}
    assert renderer.objects(merged(PRODUCTION, without)).of_kind("Role") == []


@pytest.mark.parametrize(
    ("values", "guarded"),
    [
        ({}, True),
        ({"replicas": 1}, False),
        ({"podDisruptionBudget": {"enabled": False}}, False),
        (AUTOSCALED, True),
        ({"replicas": 1, **AUTOSCALED}, True),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, False),
    ],
)
def test_a_disruption_budget_guards_all_but_a_single_pod(
    renderer: Renderer, values: dict[str, Any], *, guarded: bool
) -> None:
    budgets = renderer.objects(merged(PRODUCTION, values)).of_kind("PodDisruptionBudget")
    assert len(budgets) == guarded
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_pods_are_spread_over_zones_and_nodes_unless_somebody_says_no(renderer: Renderer, production: Objects) -> None:
    spread = pod_of(production)["topologySpreadConstraints"]
    assert {s["topologyKey"] for s in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    labels = production.one("Deployment", "slipway")["spec"]["selector"]["matchLabels"]
    assert all(s["labelSelector"]["matchLabels"] == labels for s in spread)
    off = renderer.objects(merged(PRODUCTION, {"topologySpread": {"zones": "", "nodes": ""}}))
    assert "topologySpreadConstraints" not in pod_of(off)


@pytest.mark.parametrize(("values", "share"), [({}, "2"), ({"replicas": 4}, "4"), (AUTOSCALED, "6")])
def test_limits_are_shared_by_the_most_pods_there_may_be(renderer: Renderer, values: Document, share: str) -> None:
    assert environment(renderer.objects(merged(PRODUCTION, values)))["SLIPWAY_RATE_LIMIT_REPLICAS"] == share


def test_pods_wait_for_the_schema_in_an_init_container(production: Objects) -> None:
    for name in ("slipway", "slipway-worker"):
        (waiting,) = pod_of(production, name)["initContainers"]
        assert waiting["command"] == ["slipway", "db", "wait"]
        assert waiting["env"] == pod_of(production, name)["containers"][0]["env"]


def test_a_rollout_that_waits_for_its_migration_is_not_failing(renderer: Renderer) -> None:
    objects = renderer.objects(merged(BY_A_JOB, {"migrations": {"budgetSeconds": 100}}))
    (job,) = objects.of_kind("Job")
    runner = {entry["name"]: entry["value"] for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert runner["SLIPWAY_MIGRATION_BUDGET"] == "100"
    assert objects.one("Deployment", "slipway")["spec"]["progressDeadlineSeconds"] == 700
    # The runner keeps its own time: a Job's deadline would kill it in the middle of a revision.
    assert "activeDeadlineSeconds" not in job["spec"]


def test_where_somebody_else_migrates_there_is_no_job_and_no_waiting(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, {"migrations": {"mode": "off"}}))
    assert objects.of_kind("Job") == objects.of_kind("SchemaMigration") == []
    assert "initContainers" not in pod_of(objects)
    assert [deployment["metadata"]["name"] for deployment in objects.of_kind("Deployment")] == [
        "slipway",
        "slipway-worker",
    ]
    assert {account["metadata"]["name"] for account in objects.of_kind("ServiceAccount")} == {"slipway"}


def test_the_job_is_no_hook_and_logs_in_as_the_owner(renderer: Renderer) -> None:
    (job,) = renderer.objects(BY_A_JOB).of_kind("Job")
    assert "annotations" not in job["metadata"]
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["database"]["secret"]["secretName"] == "database-owner"
    assert set(volumes) == {"tmp", "database"}


def name_of_job(renderer: Renderer, values: Document) -> str:
    jobs = [job["metadata"]["name"] for job in renderer.objects(merged(BY_A_JOB, values)).of_kind("Job")]
    (name,) = (name for name in jobs if name.startswith("slipway-migrate-"))
    return str(name)


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"tag": "0.2.0"}},
        {"migrations": {"command": ["alembic", "upgrade", "head"]}},
        {"podLabels": {"team": "harbour"}},
        {"extraEnv": [{"name": "MORE", "value": "1"}]},
    ],
)
def test_another_pod_is_another_job(renderer: Renderer, values: Document) -> None:
    assert name_of_job(renderer, values) != name_of_job(renderer, {})


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 4},
        AUTOSCALED,
        {"issuer": "https://else.example.com"},
        {"migrations": {"ttlSecondsAfterFinished": 6000}},
        {"rollout": {"drainSeconds": 20}},
    ],
)
def test_the_same_pod_is_the_same_job(renderer: Renderer, values: Document) -> None:
    assert name_of_job(renderer, values) == name_of_job(renderer, {})
