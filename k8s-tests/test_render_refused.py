"""Values that can't work are refused by a sentence that says what to write; as a part of another chart, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.render import CHART, DEMO, EXAMPLES, PRODUCTION, RefusedError, Renderer, merged
from cluster.binaries import tool

INGRESS = {"ingress": {"enabled": True, "hosts": ["a.example.com"]}}
CERT_MANAGER = {"certManager": {"enabled": True, "issuerRef": {"name": "letsencrypt"}}}

NO_PROBES = {"startup": None, "liveness": None, "readiness": None}
NO_OPS_PORT = {"ports": {"ops": None}, "probes": NO_PROBES, "worker": {"probes": NO_PROBES}}

MISSING: dict[str, tuple[tuple[str, ...], str]] = {
    "database": (("database",), "set database.existingSecret to a Secret with host, port"),
    "signing keys": (("signingKeys",), "set signingKeys.existingSecret to a Secret with jwks.json and signing"),
    "issuer": (("issuer",), "such as issuer=https://api.example.com"),
    "reset page": (("passwordResetUrl",), "with {token} in it, such as passwordResetUrl="),
    "schema owner": (("migrations",), "migrations.mode=operator needs migrations.existingSecret"),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "http issuer": ({"issuer": "http://api.example.com"}, "issuer must be the public https:// address"),
    "no token in the link": ({"passwordResetUrl": "https://www.example.com/"}, "with {token} in it"),
    "http page for new addresses": ({"emailChangeUrl": "http://www.example.com/?{token}"}, "emailChangeUrl must be"),
    "no token in the link to a new address": ({"emailChangeUrl": "https://www.example.com/"}, "emailChangeUrl must be"),
    "demo's PostgreSQL in production": (
        {"postgresql": {"enabled": True}, "database": {"existingSecret": ""}},
        "postgresql.enabled is for trying out",
    ),
    "demo's Redis in production": ({"redis": {"enabled": True}}, "Name a Secret of your own in redis.existingSecret"),
    "no namespaces to look after": (
        {"operator": {"scope": "namespaces"}},
        "operator.scope=namespaces needs operator.namespaces",
    ),
    "namespaces that nobody looks after": (
        {"operator": {"namespaces": ["harbour"]}},
        "operator.namespaces is for operator.scope=namespaces, and operator.scope is namespaced",
    ),
    "a service where the operator isn't": (
        {"operator": {"services": [{"namespace": "harbour", "secrets": ["keys"]}]}},
        "operator.services names the namespace harbour, which the operator doesn't look after",
    ),
    "rights for nobody": (
        {"operator": {"enabled": False, "services": [{"secrets": ["keys"]}]}},
        "operator.services gives rights to the release's own operator, which isn't there",
    ),
    "rights to what it has all rights to": (
        {"operator": {"scope": "cluster", "services": [{"secrets": ["keys"]}]}},
        "leave secrets and reads out",
    ),
    "labels for a selector of pods": (
        {"operator": {"services": [{"pods": {"app": "harbour"}}]}},
        "at '/operator/services/0/pods': additional properties 'app' not allowed",
    ),
    "two databases": (
        {"environment": "development", "postgresql": {"enabled": True}},
        "Set postgresql.enabled=false, or leave database.existingSecret empty",
    ),
    "two Redis": (
        {"environment": "development", "redis": {"enabled": True, "existingSecret": "redis"}},
        "Set redis.enabled=false, or leave redis.existingSecret empty",
    ),
    "rights to another than the owner": (
        {"migrations": {"existingSecret": "database", "grantTo": "app"}},
        "leave migrations.grantTo empty",
    ),
    "grace too short": (
        {"rollout": {"terminationGracePeriodSeconds": 39}},
        "terminationGracePeriodSeconds=39 is less than preStop 5 + drain 15 + shutdown 15 + 5 = 40 seconds",
    ),
    "requests longer than their last wait": (
        {"rollout": {"shutdownSeconds": 9}},
        "rollout.shutdownSeconds=9 is less than a request may take (SLIPWAY_REQUEST_DEADLINE, 10 seconds)",
    ),
    "longer requests than the worker waits for": (
        {"rollout": {"shutdownSeconds": 40}, "extraEnv": [{"name": "SLIPWAY_REQUEST_DEADLINE", "value": "30.5"}]},
        "worker.shutdownSeconds=30 is less than a request may take (SLIPWAY_REQUEST_DEADLINE, 30.5 seconds)",
    ),
    "deadline within the migration": (
        {"rollout": {"progressDeadlineSeconds": 3600}},
        "Write more than 3600, or null to have it computed",
    ),
    "deadline within readiness": (
        {"rollout": {"progressDeadlineSeconds": 60, "minReadySeconds": 60}, "migrations": {"mode": "off"}},
        "progressDeadlineSeconds=60 must be more than rollout.minReadySeconds=60",
    ),
    "too many connections": (
        {"replicas": 10},
        "(10 API pods + 1 in a rollout + 2 of the worker) * (pool 5 + overflow 3) + 2 of the migration"
        " + 10 in database.reservedConnections = 116, but database.maxConnections=100",
    ),
    "too many connections when scaled up": (
        {"autoscaling": {"enabled": True, "maxReplicas": 9}},
        "(9 API pods + 1 in a rollout + 2 of the worker)",
    ),
    "fewest more than most": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}},
        "autoscaling.minReplicas=5 is more than autoscaling.maxReplicas=4",
    ),
    "nothing to scale by": (
        {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}},
        "needs a target: set autoscaling.targetCPUUtilizationPercentage",
    ),
    "scaling by what isn't requested": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        "resources.requests.cpu is missing: set it",
    ),
    "memory for too few passwords": (
        {"passwordWorkers": 4},
        "192 Mi of the process + 64 Mi * 4 passwords hashed at once = 448 Mi. Write 448Mi or more",
    ),
    "memory in gibibytes": ({"resources": {"limits": {"memory": "0.25Gi"}}}, "resources.limits.memory=0.25Gi is too"),
    "ingress without hosts": ({"ingress": {"enabled": True}}, "such as ingress.hosts={api.example.com}"),
    "route without a gateway": ({"httpRoute": {"enabled": True}}, "such as [{name: public, namespace: gateways}]"),
    "two certificates": (merged(INGRESS, {"tls": {**CERT_MANAGER, "existingSecret": "mine"}}), "Keep one of the two"),
    "certificate of nobody": (
        merged(INGRESS, {"tls": {"certManager": {"enabled": True}}}),
        "tls.certManager.enabled needs tls.certManager.issuerRef.name",
    ),
    "certificate for no host": ({"tls": CERT_MANAGER}, "tls.certManager.enabled needs host names"),
    "certificate without an ingress": ({"tls": {"existingSecret": "mine"}}, "set ingress.enabled"),
    "node port of a ClusterIP": ({"service": {"nodePort": 30080}}, "needs service.type NodePort or LoadBalancer"),
    "metrics without a port": (
        merged(NO_OPS_PORT, {"metrics": {"serviceMonitor": {"enabled": True}}, "operator": {"enabled": False}}),
        "metrics need the ops port: set ports.ops",
    ),
    "a probe without its port": (
        merged(NO_OPS_PORT, {"worker": {"probes": {"liveness": {"httpGet": {"path": "/livez", "port": "ops"}}}}}),
        "worker.probes.liveness asks port ops, which ports.ops=null takes away",
    ),
    "alerts without a port": (
        merged(NO_OPS_PORT, {"metrics": {"prometheusRule": {"enabled": True}}}),
        "metrics need the ops port: set ports.ops",
    ),
    "plain Alembic in a Job": (
        {"migrations": {"mode": "job", "config": "/app/alembic.ini"}},
        "tell the operator how to migrate: set migrations.mode=operator, or leave them empty",
    ),
    "two ways to migrate": (
        {"migrations": {"config": "/app/alembic.ini", "runner": ["harbour", "db"]}},
        "migrations.runner for an image with commands of its own: keep one of the two",
    ),
    "no way to migrate": ({"application": "other"}, "set migrations.config to the path of its alembic.ini"),
    "a statement longer than everything": (
        {"migrations": {"budgetSeconds": 899}},
        "migrations.statementTimeout=15m is longer than migrations.budgetSeconds=899",
    ),
    "a lock longer than its statement": (
        {"migrations": {"lockTimeout": "1m", "statementTimeout": "1m"}},
        "migrations.lockTimeout=1m must be between 1s and 10m, and shorter than migrations.statementTimeout=1m",
    ),
    "a lock that everyone waits for": ({"migrations": {"lockTimeout": "10m1s"}}, "must be between 1s and 10m"),
    "no wait for a lock": ({"migrations": {"lockTimeout": "0s"}}, "must be between 1s and 10m"),
    "the script's volume": ({"extraVolumes": [{"name": "migration-script"}]}, "extraVolumes has a volume migration-sc"),
    "a volume of the chart's": ({"extraVolumes": [{"name": "tmp"}]}, "extraVolumes has a volume tmp, and so has the"),
    "a folder of the chart's": (
        {"extraVolumeMounts": [{"name": "more", "mountPath": "/var/run/secrets/slipway/admin"}]},
        "extraVolumeMounts has /var/run/secrets/slipway/admin, and so has the chart",
    ),
}
ROTATED = {"signingKeys": {"existingSecret": ""}, "keyRing": {"enabled": True}}
LOGGED_IN = {
    "database": {"existingSecret": ""},
    "databaseLogin": {"enabled": True, "admin": {"existingSecret": "database-admin"}, "memberOf": "slipway_app"},
}
NOT_ROTATED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody rotates keys": (merged(ROTATED, {"migrations": {"mode": "job"}}), "which migrations.mode=job leaves out"),
    "nobody rotates the login": (merged(LOGGED_IN, {"migrations": {"mode": "off"}}), "set operator.enabled=true"),
    "two sets of keys": ({"keyRing": {"enabled": True}}, "docs/keys-and-logins.md says how a KeyRing takes over keys"),
    "two logins": (
        merged(LOGGED_IN, {"database": {"existingSecret": "database"}}),
        "Two logins: database.existingSecret names one, and databaseLogin makes another",
    ),
    "a rotation that doesn't end": (
        merged(ROTATED, {"keyRing": {"rotateEvery": "30m"}}),
        "propagation 120 + validatorCache 600 + propagation 120 + tokenLifetime 900 + leeway 60 = 1800 seconds",
    ),
    "clocks that differ for long": (
        merged(ROTATED, {"keyRing": {"leeway": "601s"}}),
        "keyRing.leeway=601s at most 10m",
    ),
    "nobody makes roles": (
        merged(LOGGED_IN, {"databaseLogin": {"admin": {"existingSecret": ""}}}),
        "needs databaseLogin.admin.existingSecret: a Secret with a login that has CREATEROLE",
    ),
    "no role with rights": (merged(LOGGED_IN, {"databaseLogin": {"memberOf": ""}}), "set migrations.grantTo, or"),
    "one role twice": (merged(LOGGED_IN, {"databaseLogin": {"roles": ["a", "a"]}}), "roles=a,a must be two different"),
    "a member of itself": (
        merged(LOGGED_IN, {"databaseLogin": {"roles": ["a", "slipway_app"]}}),
        "neither that of databaseLogin.memberOf",
    ),
    "passwords of minutes": (merged(LOGGED_IN, {"databaseLogin": {"rotateEvery": "4m"}}), "must be at least 5m"),
    "connections while the login changes": (
        merged(LOGGED_IN, {"replicas": 7}),
        "(7 API pods + 1 in a rollout + 2 of the worker) * (pool 5 + overflow 3 + 1 while the login changes)"
        " + 2 of the migration + 1 of the operator + 10 in database.reservedConnections = 103",
    ),
    "a role with too few connections": (
        merged(LOGGED_IN, {"databaseLogin": {"connectionLimit": 44}}),
        "databaseLogin.connectionLimit=44 is less than what pods may hold by one role: (2 API pods + 1 in a rollout"
        " + 2 of the worker) * (pool 5 + overflow 3 + 1 while the login changes) = 45",
    ),
    "evidence without a port": (merged(NO_OPS_PORT, ROTATED), "or keyRing.evidence=Time"),
    "a login without a port": (merged(NO_OPS_PORT, LOGGED_IN), "and databaseLogin.enabled=false"),
}
BROKEN_SCHEMA: dict[str, tuple[dict[str, Any], str]] = {
    "nothing for a number": ({"rollout": {"preStopSeconds": None}}, "at '/rollout': missing property 'preStopSeconds'"),
    "nothing for ports, which would open all": ({"networkPolicy": {"dns": None}}, "missing property 'dns'"),
    "nothing for a section": ({"image": None}, "missing property 'image'"),
    "an unknown value": ({"replica": 2}, "'replica' not allowed"),
    "an unknown value further down": ({"autoscaling": {"minimum": 2}}, "'minimum' not allowed"),
    "a word for a number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    "another environment": ({"environment": "staging"}, "at '/environment'"),
    "no duration": ({"migrations": {"lockTimeout": "3 s"}}, "at '/migrations/lockTimeout'"),
    "another mode": ({"migrations": {"mode": "hook"}}, "at '/migrations/mode'"),
    "a tag for a digest": ({"image": {"digest": "latest"}}, "at '/image/digest'"),
    "more than all requests": ({"tracing": {"sampleRatio": 2}}, "at '/tracing/sampleRatio'"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_production_lacks_is_named(renderer: Renderer, case: str) -> None:
    lacking, sentence = MISSING[case]
    values = {key: value for key, value in PRODUCTION.items() if key not in lacking}
    with pytest.raises(RefusedError) as refused:
        renderer.text(values)
    assert sentence in str(refused.value)


def test_all_that_is_missing_is_said_at_once(renderer: Renderer) -> None:
    with pytest.raises(RefusedError) as refused:
        renderer.text({})
    assert [sentence for _, sentence in MISSING.values() if sentence not in str(refused.value)] == []


def test_what_production_asks_for_is_enough(renderer: Renderer) -> None:
    assert renderer.text(PRODUCTION)


@pytest.mark.parametrize("case", [*REFUSED, *NOT_ROTATED])
def test_values_that_do_not_go_together_are_refused_by_one_sentence(renderer: Renderer, case: str) -> None:
    values, sentence = (REFUSED | NOT_ROTATED)[case]
    with pytest.raises(RefusedError) as refused:
        renderer.text(merged(PRODUCTION, values))
    assert sentence in str(refused.value)
    assert str(refused.value).count("\n- ") == 1


def test_a_name_that_no_service_can_have_is_refused(renderer: Renderer) -> None:
    with pytest.raises(RefusedError, match="2nd-slipway can't name a Service: it must begin with a letter"):
        renderer.text(DEMO, release="2nd")


@pytest.mark.parametrize("case", BROKEN_SCHEMA)
def test_the_schema_refuses(renderer: Renderer, case: str) -> None:
    values, sentence = BROKEN_SCHEMA[case]
    with pytest.raises(RefusedError) as refused:
        renderer.text(merged(DEMO, values))
    assert sentence in str(refused.value)


def test_another_image_is_asked_for_nothing_that_only_slipway_needs(renderer: Renderer) -> None:
    foreign = {"application": "other", "migrations": {"mode": "off"}, "worker": {"enabled": False}}
    pods = renderer.objects(foreign).pods()
    assert set(pods) == {"Deployment/slipway", "Pod/slipway-test"}
    assert [volume["name"] for volume in pods["Deployment/slipway"]["spec"]["volumes"]] == ["tmp"]


def test_another_image_brings_its_command_port_probes_and_migration(renderer: Renderer) -> None:
    objects = renderer.objects(yaml.safe_load(EXAMPLES["foreign-image"].read_text()))
    pod = objects.one("Deployment", "slipway")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (migration,) = objects.of_kind("SchemaMigration")
    assert pod["initContainers"][0]["command"][-2:] == ["--config=/app/alembic.ini", "wait"]
    assert container["image"] == "registry.example.com/team/harbour:2.4.1"
    assert container["command"][:3] == ["python", "-m", "uvicorn"]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert migration["spec"]["config"] == "/app/alembic.ini"
    headless = [s["metadata"]["name"] for s in objects.of_kind("Service") if s["spec"].get("clusterIP") == "None"]
    assert headless == ["slipway-operator-metrics"]


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A chart with ours in it, switched by a condition."""
    shutil.copytree(CHART, tmp_path / "charts" / "slipway")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    part = {"name": "slipway", "version": version, "condition": "slipway.enabled"}
    meta = {"apiVersion": "v2", "name": "fleet", "version": "1.0.0", "dependencies": [part]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(meta))
    return tmp_path


def test_it_is_a_part_of_another_chart_with_that_ones_globals(parent: Path) -> None:
    values = {
        "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["mirror"], "theirs": {"own": 1}},
        "slipway": {**DEMO, "enabled": True},
    }
    objects = Renderer(tool("helm"), parent).objects(values, release="fleet")
    images = {container["image"] for pod in objects.pods().values() for container in pod["spec"]["containers"]}
    assert {image.split("/")[0] for image in images} == {"mirror.example.com"}
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "mirror"}] for pod in objects.pods().values())
    assert objects.one("Deployment", "fleet-slipway")


def test_a_parent_can_switch_it_off(parent: Path) -> None:
    assert Renderer(tool("helm"), parent).objects({"slipway": {"enabled": False}}).all == []
