"""Every value that is documented does something: changed, it changes the render, or is refused with its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from charts.reference import Entry, leaves, read_entries, schema
from charts.render import CHART, DEMO, EXAMPLES, PRODUCTION, RefusedError, Renderer, merged, nested

ENTRIES = read_entries((CHART / "values.yaml").read_text())
LEAVES = {entry.name: entry for entry in leaves(ENTRIES)}

SITUATIONS: dict[str, dict[str, Any]] = {
    "everything": merged(
        yaml.safe_load(EXAMPLES["production"].read_text()),
        {
            "image": {"digest": ""},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["b.example.com"]},
            "service": {"type": "NodePort"},
            "metrics": {
                "serviceMonitor": {"interval": "30s"},
                **{each: {"enabled": True} for each in ("rulesConfigMap", "inhibitRules", "dashboards")},
            },
        },
    ),
    "demo": merged(DEMO, {"postgresql": {"persistence": {"enabled": True}}}),
    "plain": merged(
        PRODUCTION,
        {"ingress": {"enabled": True, "hosts": ["a.example.com"]}, "tls": {"existingSecret": "certificate"}},
    ),
    "job": merged(PRODUCTION, {"migrations": {"mode": "job"}}),
    "foreign": yaml.safe_load(EXAMPLES["foreign-image"].read_text()),
}
"""Where a value may show; each is tried until it does."""

ROTATION_TIMES = (
    "databaseLogin.rotateEvery",
    "keyRing.rotateEvery",
    "keyRing.tokenLifetime",
    "keyRing.validatorCache",
    "keyRing.propagation",
)
CHANGED: dict[str, Any] = {
    "fullnameOverride": "harbour",
    "nameOverride": "harbour",
    "issuer": "https://else.example.com",
    "passwordResetUrl": "https://else.example.com/?t={token}",
    "emailChangeUrl": "https://else.example.com/?c={token}",
    "tracing.endpoint": "http://else:4318",
    "migrations.grantTo": "harbour",
    "migrations.waitCommand": ["harbour", "wait"],
    "migrations.lockTimeout": "4s",
    "migrations.statementTimeout": "14m30s",
    "operator.enabled": False,
    "operator.namespaces": ["harbour"],
    "operator.services": [{"secrets": ["harbour-keys"]}],
    "operator.image.digest": f"sha256:{'a' * 64}",
    "operator.tolerations": [{"key": "more", "operator": "Exists"}],
    "image.digest": f"sha256:{'a' * 64}",
    "redis.image.digest": f"sha256:{'a' * 64}",
    "postgresql.image.digest": f"sha256:{'a' * 64}",
    "ingress.path": "/else",
    "httpRoute.path": "/else",
    "tests.path": "/else",
    "service.nodePort": 30080,
    "ports.ops": 9191,
    "database.address": "postgresql://else/else",
    "database.maxConnections": 300,
    "databaseLogin.roles": ["harbour_a", "harbour_b"],
    "databaseLogin.connectionLimit": 500,
    **dict.fromkeys(ROTATION_TIMES, "2h30m"),
    "keyRing.leeway": "5m",
    "database.reservedConnections": 1000,
    "redis.enabled": False,
    "autoscaling.targetCPUUtilizationPercentage": 55,
    "autoscaling.targetMemoryUtilizationPercentage": 55,
    "rollout.terminationGracePeriodSeconds": 77,
    "rollout.progressDeadlineSeconds": 7777,
    "resources": {"limits": {"memory": "2Gi"}},
    "podDisruptionBudget.maxUnavailable": "34%",
    "httpRoute.parentRefs": [{"name": "else"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}],
    "extraEnv": [{"name": "MORE", "value": "1"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "tolerations": [{"key": "more", "operator": "Exists"}],
    "metrics.prometheusRule.alerts": {"SlipwayRestarts": {"threshold": 5}},
    "networkPolicy.apiFrom": [{"podSelector": {}}],
    "networkPolicy.opsFrom": [{"podSelector": {}}],
    **{
        f"networkPolicy.{place}": {"to": [{"podSelector": {}}], "ports": [9]}
        for place in ("dns", "database", "redis", "collector", "smtp", "apiServer")
    },
    "networkPolicy.extraEgress": [{"ports": [{"port": 9}]}],
}
"""Changed values where the kind of the default doesn't tell one that makes sense."""

CHANGES: dict[type, Callable[[Any], Any]] = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    float: lambda value: value / 2,
    str: lambda _: "else",
    list: lambda _: ["else"],
    dict: lambda _: {"else": "more"},
    type(None): lambda _: True,
}

AT_ONCE = 16
CALLS_AT_ONCE = 2


def changed(entry: Entry) -> Any:
    """Another value than the default, which the schema takes."""
    if entry.name in CHANGED:
        return CHANGED[entry.name]
    if "enum" in entry.fragment:
        return next(choice for choice in entry.fragment["enum"] if choice not in (entry.default, ""))
    return CHANGES[type(entry.default)](entry.default)


def rendered(renderer: Renderer, many: list[dict[str, Any]]) -> list[str]:
    """The manifest of each, or what it was refused with. Many at once; where one is refused, fewer at once."""
    try:
        return renderer.texts(many)
    except RefusedError as refused:
        if len(many) == 1:
            return [str(refused)]
    half = len(many) // 2
    return rendered(renderer, many[:half]) + rendered(renderer, many[half:])


def showing(renderer: Renderer, situation: str, entries: list[Entry]) -> set[str]:
    """Names of the values that show in a situation: changed, the manifest is another, or refused with their name."""
    values = [merged(SITUATIONS[situation], nested(entry.path, changed(entry))) for entry in entries]
    for index, entry in enumerate(entries):
        if values[index] == SITUATIONS[situation]:
            values[index] = merged(values[index], nested(entry.path, entry.default))
    before, *after = rendered(renderer, [SITUATIONS[situation], *values])
    names = [entry.name for entry in entries]
    return {
        name
        for name, text in zip(names, after, strict=True)
        if text != before and (not text.startswith("Error:") or name in text)
    }


@pytest.fixture(scope="module")
def used(renderer: Renderer) -> set[str]:
    """Names of the values that do something."""
    found: set[str] = set()
    for situation in SITUATIONS:
        left = [entry for entry in LEAVES.values() if entry.name not in found]
        batches = [left[first : first + AT_ONCE] for first in range(0, len(left), AT_ONCE)]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            for names in pool.map(partial(showing, renderer, situation), batches):
                found |= names
    return found


@pytest.mark.parametrize("name", LEAVES)
def test_each_value_does_what_can_be_seen(used: set[str], name: str) -> None:
    assert name in used


def test_a_value_that_does_nothing_is_found_out(renderer: Renderer) -> None:
    idle = Entry(("global", "idle"), "", "", {}, "", ())
    assert showing(renderer, "everything", [idle, LEAVES["replicas"], LEAVES["image.tag"]]) == {"image.tag"}


def test_changed_values_are_such_as_the_schema_takes() -> None:
    validator = Draft202012Validator(schema(ENTRIES))
    defaults = {entry.path[-1]: entry.default for entry in ENTRIES}
    for entry in LEAVES.values():
        values = merged(defaults, nested(entry.path, changed(entry)))
        faults = [fault.message for fault in validator.iter_errors(values)]
        assert faults == [], entry.name
        assert changed(entry) != entry.default, entry.name


def test_null_for_a_probe_takes_it_away(renderer: Renderer) -> None:
    probes = {"probes": {"startup": None}, "worker": {"probes": {"liveness": None}}}
    pods = renderer.objects(merged(DEMO, probes)).pods()
    (api,), (worker,) = (
        pods[name]["spec"]["containers"] for name in ("Deployment/slipway", "Deployment/slipway-worker")
    )
    assert {key for key in api if key.endswith("Probe")} == {"livenessProbe", "readinessProbe"}
    assert {key for key in worker if key.endswith("Probe")} == {"startupProbe", "readinessProbe"}


NUMERIC = {
    "serviceAccount": {"name": "0123"},
    "priorityClassName": "017",
    "imagePullSecrets": ["0123", {"name": "0123"}],
    "global": {"imagePullSecrets": ["0123"]},
    "nodeSelector": {"disk": "true"},
    "podLabels": {"yes": "no"},
    "database": {"existingSecret": "12", "tls": {"existingSecret": "13", "key": "14"}},
    "migrations": {"existingSecret": "15"},
    "admin": {"existingSecret": "16"},
    "ingress": {"enabled": True, "hosts": ["1.2"], "className": "17", "path": "/a: b #c"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "18"}], "path": "/a, b}"},
    "tls": {"existingSecret": "19"},
    "metrics": {"serviceMonitor": {"enabled": True, "interval": "60"}},
}


def test_text_that_looks_like_something_else_stays_text(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, NUMERIC), namespace="0123")
    pod = objects.one("Deployment", "slipway")["spec"]["template"]["spec"]
    assert {document["metadata"]["namespace"] for document in objects.all} == {"0123"}
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("0123", "017")
    assert pod["imagePullSecrets"] == [{"name": "0123"}]
    assert objects.of_kind("SchemaMigration")[0]["spec"]["database"] == {"secretName": "15"}
    (ingress,), (route,) = (objects.of_kind(kind) for kind in ("Ingress", "HTTPRoute"))
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["tls"][0]["secretName"]) == ("17", "19")
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/a: b #c"
    assert route["spec"]["rules"][0]["matches"][0]["path"]["value"] == "/a, b}"
    by_a_job = merged(merged(PRODUCTION, NUMERIC), {"migrations": {"mode": "job"}})
    (job,) = renderer.objects(by_a_job, namespace="0123").of_kind("Job")
    secrets = [v["secret"]["secretName"] for v in job["spec"]["template"]["spec"]["volumes"] if "secret" in v]
    assert secrets == ["15", "13"]
    assert objects.of_kind("ServiceMonitor")[0]["spec"]["endpoints"][0]["interval"] == "60"


def test_large_numbers_are_written_out(renderer: Renderer) -> None:
    large = {"migrations": {"budgetSeconds": 10_000_000, "ttlSecondsAfterFinished": 20_000_000, "mode": "job"}}
    text = renderer.text(merged(PRODUCTION, {**large, "database": {"maxConnections": 30_000_000}}))
    assert 'value: "10000000"' in text
    assert "progressDeadlineSeconds: 10000600" in text
    by_the_operator = renderer.text(merged(PRODUCTION, merged(large, {"migrations": {"mode": "operator"}})))
    assert 'budget: "2777h46m40s"' in by_the_operator
    assert not re.search(r"\de\+\d", text + by_the_operator)


def test_an_environment_of_the_users_goes_before_the_charts(renderer: Renderer) -> None:
    mine = [{"name": name, "value": "77"} for name in ("SLIPWAY_RATE_LIMIT_REPLICAS", "SLIPWAY_MIGRATION_BUDGET")]
    containers = [
        c
        for mode in ("operator", "job")
        for pod in renderer.objects(merged(PRODUCTION, {"extraEnv": mine, "migrations": {"mode": mode}}))
        .pods()
        .values()
        for key in ("initContainers", "containers")
        for c in pod["spec"].get(key, [])
    ]
    for container in containers:
        names = [entry["name"] for entry in container.get("env", [])]
        assert len(names) == len(set(names)), container["name"]  # the API server refuses what is there twice
        if container["name"] in ("wait", "api", "worker", "migrate"):
            assert container["env"][-2:] == mine


def test_null_is_nothing_where_nothing_is_the_default(renderer: Renderer) -> None:
    nulls: dict[str, Any] = {}
    for entry in LEAVES.values():
        if entry.default in ("", [], {}):
            nulls = merged(nulls, nested(entry.path, None))
    assert renderer.text(merged(nulls, DEMO)) == renderer.text(DEMO)


def test_what_another_manager_may_own_is_not_rendered(renderer: Renderer) -> None:
    text = renderer.text(DEMO)
    for key in ("suspend:", "nodePort:", "trafficDistribution:", "ingressClassName:", "priorityClassName:", "hpa"):
        assert key not in text


def test_the_demo_is_one_value_and_in_development(renderer: Renderer) -> None:
    for pod in renderer.objects(DEMO).pods().values():
        for container in pod["spec"]["containers"]:
            environment = {entry["name"]: entry["value"] for entry in container.get("env", [])}
            assert environment.get("SLIPWAY_ENVIRONMENT", "development") == "development"
    assert "TRY-OUT" in renderer.notes(DEMO)
    assert "TRY-OUT" not in renderer.notes(PRODUCTION)


def test_the_notes_say_where_to_go_and_what_one_pod_means(renderer: Renderer) -> None:
    notes = renderer.notes(
        merged(PRODUCTION, {"replicas": 1, "ingress": {"enabled": True, "hosts": ["a.example.com"]}})
    )
    assert "http://slipway.ships:80" in notes
    assert "http://a.example.com/" in notes
    assert "1 pod of the API" in notes
    assert "ingress.enabled without tls" in notes
    assert "slipway admin create" in notes
    calm = renderer.notes(SITUATIONS["plain"])
    assert "1 pod of the API" not in calm
    assert "without tls" not in calm
