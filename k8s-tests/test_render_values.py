"""Every value that is documented does something: changed, it changes the render, or is refused with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from charts.reference import Entry, leaves, read_entries, schema
from charts.render import CHART, DEMO, EXAMPLES, PRODUCTION, RefusedError, Renderer, merged, nested
from cluster.binaries import tool

ENTRIES = read_entries((CHART / "values.yaml").read_text())
LEAVES = {entry.name: entry for entry in leaves(ENTRIES)}

SITUATIONS: dict[str, dict[str, Any]] = {
    "everything": merged(
        yaml.safe_load(EXAMPLES["production"].read_text()),
        {
            "image": {"digest": ""},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
            "service": {"type": "NodePort"},
            "metrics": {"serviceMonitor": {"interval": "30s"}},
        },
    ),
    "demo": merged(DEMO, {"postgresql": {"persistence": {"enabled": True}}}),
    "plain": merged(
        PRODUCTION,
        {"ingress": {"enabled": True, "hosts": ["a.example.com"]}, "tls": {"existingSecret": "certificate"}},
    ),
    "foreign": yaml.safe_load(EXAMPLES["foreign-image"].read_text()),
}
"""Where a value may show; each is tried until it does."""

CHANGED: dict[str, Any] = {
    "fullnameOverride": "harbour",
    "nameOverride": "harbour",
    "issuer": "https://else.example.com",
    "passwordResetUrl": "https://else.example.com/?t={token}",
    "tracing.endpoint": "http://else:4318",
    "migrations.grantTo": "harbour",
    "image.digest": f"sha256:{'a' * 64}",
    "redis.image.digest": f"sha256:{'a' * 64}",
    "postgresql.image.digest": f"sha256:{'a' * 64}",
    "ingress.path": "/else",
    "httpRoute.path": "/else",
    "tests.path": "/else",
    "service.nodePort": 30080,
    "ports.ops": 9191,
    "database.reservedConnections": 1000,
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

RENDERS_AT_ONCE = 4


def changed(entry: Entry) -> Any:
    """Another value than the default, which the schema takes."""
    if entry.name in CHANGED:
        return CHANGED[entry.name]
    if "enum" in entry.fragment:
        return next(choice for choice in entry.fragment["enum"] if choice not in (entry.default, ""))
    return CHANGES[type(entry.default)](entry.default)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tool("helm"))


def effects(renderer: Renderer, entry: Entry, before: dict[str, str]) -> Iterator[bool]:
    """Whether the value shows, for each situation in turn."""
    for situation, text in before.items():
        values = merged(SITUATIONS[situation], nested(entry.path, changed(entry)))
        if values == SITUATIONS[situation]:
            values = merged(values, nested(entry.path, entry.default))
        try:
            yield renderer.text(values) != text
        except RefusedError as refused:
            yield entry.name in str(refused)


@pytest.fixture(scope="module")
def used(renderer: Renderer) -> dict[str, bool]:
    """Whether each value does something. Rendered side by side: there are hundreds."""
    with ThreadPoolExecutor(RENDERS_AT_ONCE) as pool:
        before = dict(zip(SITUATIONS, pool.map(renderer.text, SITUATIONS.values()), strict=True))
        shows = pool.map(lambda entry: any(effects(renderer, entry, before)), LEAVES.values())
        return dict(zip(LEAVES, shows, strict=True))


@pytest.mark.parametrize("name", LEAVES)
def test_each_value_does_what_can_be_seen(used: dict[str, bool], name: str) -> None:
    assert used[name]


def test_a_value_that_does_nothing_is_found_out(renderer: Renderer) -> None:
    idle = Entry(("global", "idle"), "", "", {}, "", ())
    before = {name: renderer.text(values) for name, values in list(SITUATIONS.items())[:1]}
    assert list(effects(renderer, idle, before)) == [False]


def test_changed_values_are_such_as_the_schema_takes() -> None:
    validator = Draft202012Validator(schema(ENTRIES))
    for entry in LEAVES.values():
        faults = [fault.message for fault in validator.iter_errors(nested(entry.path, changed(entry)))]
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
    assert "slipway admin create" in notes
    assert "1 pod of the API" not in renderer.notes(PRODUCTION)
