"""Who reaches whom: services, ingress and gateway, certificates, network policies, and what Prometheus is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from charts.render import DEMO, EXAMPLES, PRODUCTION, Document, Objects, Renderer, merged

OUTSIDE = {
    "ingress": {"enabled": True, "hosts": ["a.example.com", "b.example.com"]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["b.example.com", "c.example.com"]},
}


@pytest.fixture(scope="module")
def demo(renderer: Renderer) -> Objects:
    return renderer.objects(DEMO)


@pytest.fixture(scope="module")
def production(renderer: Renderer) -> Objects:
    return renderer.objects(yaml.safe_load(EXAMPLES["production"].read_text()))


def reached(policy: Document) -> dict[tuple[str | int, ...], Any]:
    """Where egress may go, by ports; None stands for anywhere."""
    return {
        tuple(sorted({port["port"] for port in rule["ports"]}, key=str)): rule.get("to")
        for rule in policy["spec"].get("egress") or []
    }


def component(peers: list[Document]) -> list[str]:
    return [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in peers]


def test_the_ops_port_is_in_no_service_that_balances_and_behind_no_ingress(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, OUTSIDE))
    for service in objects.of_kind("Service"):
        ports = {port["targetPort"] for port in service["spec"]["ports"]}
        assert ("ops" in ports) == (service["spec"].get("clusterIP") == "None")
    (ingress,) = objects.of_kind("Ingress")
    backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": "slipway", "port": {"name": "http"}}] * 2
    (route,) = objects.of_kind("HTTPRoute")
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "slipway", "port": 80}]


@pytest.mark.parametrize(
    ("tls", "secret"),
    [
        ({"existingSecret": "mine"}, "mine"),
        ({"certManager": {"enabled": True, "issuerRef": {"name": "x"}}}, "slipway-tls"),
    ],
)
def test_the_ingress_uses_the_certificate_that_is_there_or_made(renderer: Renderer, tls: Document, secret: str) -> None:
    objects = renderer.objects(merged(PRODUCTION, {**OUTSIDE, "tls": tls}))
    (ingress,) = objects.of_kind("Ingress")
    assert ingress["spec"]["tls"] == [{"secretName": secret, "hosts": ["a.example.com", "b.example.com"]}]
    for certificate in objects.of_kind("Certificate"):
        assert certificate["spec"]["secretName"] == secret
        assert certificate["spec"]["dnsNames"] == ["a.example.com", "b.example.com", "c.example.com"]
    assert len(objects.of_kind("Certificate")) == ("certManager" in tls)


def test_every_pod_is_under_exactly_one_policy_for_both_ways(production: Objects, demo: Objects) -> None:
    for objects in (production, demo):
        policies = [policy["spec"] for policy in objects.of_kind("NetworkPolicy")]
        assert all(set(policy["policyTypes"]) == {"Ingress", "Egress"} for policy in policies)
        for name, pod in objects.pods().items():
            labels = pod["metadata"]["labels"].items()
            assert sum(policy["podSelector"]["matchLabels"].items() <= labels for policy in policies) == 1, name


def test_without_policies_there_are_none(renderer: Renderer) -> None:
    assert renderer.objects(merged(DEMO, {"networkPolicy": {"enabled": False}})).of_kind("NetworkPolicy") == []


def test_in_production_pods_reach_what_they_need_where_it_is(production: Objects) -> None:
    api = reached(production.one("NetworkPolicy", "slipway"))
    assert api.keys() == {(53,), (5432,), (6379,), (4318,)}
    assert api[(5432,)] == [{"ipBlock": {"cidr": "10.20.0.0/24"}}]
    assert reached(production.one("NetworkPolicy", "slipway-worker")).keys() == api.keys() | {(587,)}
    assert reached(production.one("NetworkPolicy", "slipway-migrate")).keys() == {(53,), (5432,)}
    assert reached(production.one("NetworkPolicy", "slipway-hand-over")).keys() == {(443, 6443)}
    assert reached(production.one("NetworkPolicy", "slipway-operator")).keys() == {
        (53,),
        (443, 6443),
        (5432,),
        (9090,),
    }


def test_what_is_not_in_use_is_not_reached(renderer: Renderer) -> None:
    worker = renderer.objects(PRODUCTION).one("NetworkPolicy", "slipway-worker")
    assert reached(worker).keys() == {(53,), (5432,)}


def test_a_place_without_ports_is_not_reached_instead_of_on_every_port(renderer: Renderer) -> None:
    none: Document = {"to": [], "ports": []}
    closed = renderer.objects(merged(PRODUCTION, {"networkPolicy": {"dns": none, "database": none}}))
    assert reached(closed.one("NetworkPolicy", "slipway")) == {}
    moved = renderer.objects(merged(DEMO, {"networkPolicy": {"database": none}}))
    assert (5432,) in reached(moved.one("NetworkPolicy", "slipway"))


def test_in_the_demo_servers_answer_their_clients_only(demo: Objects) -> None:
    api = reached(demo.one("NetworkPolicy", "slipway"))
    assert component(api[(5432,)]) == ["postgresql"]
    assert component(api[(6379,)]) == ["redis"]
    for server, clients in (("postgresql", ["api", "worker", "migrate", "operator"]), ("redis", ["api", "worker"])):
        policy = demo.one("NetworkPolicy", f"slipway-{server}")
        (rule,) = policy["spec"]["ingress"]
        assert component(rule["from"][: len(clients)]) == clients
        of_the_operators_jobs = [{"podSelector": {"matchLabels": {"slipway.dev/schemamigration": "slipway"}}}]
        assert rule["from"][len(clients) :] == (of_the_operators_jobs if server == "postgresql" else [])
        assert reached(policy) == {}


def test_the_ops_port_is_for_prometheus_the_operator_and_the_test(production: Objects) -> None:
    for name in ("slipway", "slipway-worker"):
        (rule,) = [
            rule
            for rule in production.one("NetworkPolicy", name)["spec"]["ingress"]
            if rule["ports"][0]["port"] == "ops"
        ]
        prometheus, *ours = rule["from"]
        assert prometheus["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
        assert component(ours) == ["operator", "test"]


def test_the_api_is_for_anyone_unless_somebody_is_named(production: Objects, demo: Objects) -> None:
    assert "from" not in demo.one("NetworkPolicy", "slipway")["spec"]["ingress"][0]
    named, test = production.one("NetworkPolicy", "slipway")["spec"]["ingress"][0]["from"]
    assert named["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}
    assert component([test]) == ["test"]


def test_forwarded_headers_are_believed_from_named_networks_only(renderer: Renderer, demo: Objects) -> None:
    def trusted(objects: Objects) -> list[str]:
        (container,) = objects.pods()["Deployment/slipway"]["spec"]["containers"]
        return [entry["value"] for entry in container["env"] if entry["name"] == "SLIPWAY_TRUSTED_PROXIES"]

    assert trusted(demo) == []
    named = renderer.objects(merged(DEMO, {"trustedProxies": ["10.0.0.0/8", "192.0.2.1"]}))
    assert trusted(named) == ["10.0.0.0/8,192.0.2.1"]


def test_tls_to_the_database_is_checked_unless_it_is_the_demos(renderer: Renderer, demo: Objects) -> None:
    def tls(objects: Objects) -> set[str]:
        containers = [c for pod in objects.pods().values() for c in pod["spec"]["containers"]]
        entries = [entry for container in containers for entry in container.get("env", [])]
        return {entry["value"] for entry in entries if entry["name"] == "SLIPWAY_DATABASE_TLS"}

    assert tls(demo) == {"disable"}
    assert tls(renderer.objects(PRODUCTION)) == {"verify-full"}


def test_the_monitor_finds_only_the_headless_services(production: Objects) -> None:
    (monitor,) = production.of_kind("ServiceMonitor")
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    found = [
        service["metadata"]["name"]
        for service in production.of_kind("Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        and service["metadata"]["labels"][expression["key"]] in expression["values"]
        and "ops" in {port["name"] for port in service["spec"]["ports"]}
    ]
    assert found == ["slipway-metrics", "slipway-operator-metrics", "slipway-worker-metrics"]
    assert monitor["spec"]["endpoints"] == [{"port": "ops"}]
