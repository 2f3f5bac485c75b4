"""What Prometheus and Alertmanager are given: rules that ask for what is there, by either way, and switchable."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

import slipway.server
import slipway.worker  # noqa: F401
from charts.render import CHART, DEMO, EXAMPLES, Objects, RefusedError, Renderer, merged, nested
from slipway.telemetry.objectives import JOBS, MIGRATION_OVER_BUDGET_SECONDS, ROTATION_OVERDUE_SECONDS
from slipway.telemetry.registry import REGISTRY as SERVICE
from slipway_operator.telemetry import REGISTRY as OPERATOR

ALL = {
    "metrics": {
        "prometheusRule": {"enabled": True},
        "rulesConfigMap": {"enabled": True},
        "scrapeAnnotations": {"enabled": True},
        "inhibitRules": {"enabled": True},
    }
}
NAMES = {path.stem for path in (CHART / "alerts").glob("*.yaml")}
OF_TARGETS = {"namespace", "service", "instance"}
OF_RULES = {"namespace", "release"}
Rule = dict[str, Any]


def rules_of(objects: Objects) -> list[Rule]:
    (rule,) = objects.of_kind("PrometheusRule")
    return [each for group in rule["spec"]["groups"] for each in group["rules"]]


def alerts_of(objects: Objects) -> dict[str, Rule]:
    return {rule["alert"]: rule for rule in rules_of(objects) if "alert" in rule}


@pytest.fixture(scope="module")
def demo(renderer: Renderer) -> Objects:
    return renderer.objects(merged(DEMO, ALL))


def scraped(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Names as they are scraped, with the labels that their series may have."""
    found: dict[str, set[str]] = {}
    for collector, names in registry._collector_to_names.items():  # noqa: SLF001 - nothing public tells labels without series
        labels = getattr(collector, "_labelnames", None)
        told = {family.name: getattr(family, "_labelnames", ()) for family in collector.collect()}
        found |= {name: set(of) for name, of in (dict.fromkeys(names, labels) if labels is not None else told).items()}
    return found


def known(rules: list[Rule]) -> dict[str, set[str]]:
    """Every series that a rule may ask for: the service's, the operator's, Prometheus' own, and recorded ones."""
    # The metrics' own `namespace` gives way to the target's.
    told = {
        name: {"exported_namespace" if label == "namespace" else label for label in labels} | OF_TARGETS
        for name, labels in {**scraped(OPERATOR), **scraped(SERVICE), "up": set()}.items()
    }
    for rule in rules:
        if "record" in rule:
            by = set(re.findall(r"\w+", (re.search(r"by \(([^)]*)\)", rule["expr"]) or ["", ""])[1]))
            told[rule["record"]] = told.get(rule["record"], set()) | by | rule["labels"].keys()
    return told


def faults(rules: list[Rule], told: dict[str, set[str]]) -> list[str]:
    """What asks for a series, or a label of one, that isn't there."""
    found = []
    for rule in rules:
        selectors = re.findall(r"([\w:]+)\{([^}]*)\}", rule["expr"])
        assert selectors or rule["expr"].startswith("vector("), rule
        for name, matchers in selectors:
            labels = set(re.findall(r"(\w+)\s*[=!]~?", matchers))
            if name not in told or not labels <= told[name]:
                found.append(f"{rule.get('alert') or rule['record']}: {name} {sorted(labels)}")
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.findall(r"\w+", by)}
        having = {label for name, _ in selectors for label in told.get(name, ())}
        said = set(re.findall(r"\$labels\.(\w+)", str(rule.get("annotations"))))
        if not grouped <= having or not said <= having | OF_RULES:
            found.append(f"{rule.get('alert') or rule['record']}: by {sorted(grouped)}, said {sorted(said)}")
    return found


def test_every_series_and_label_that_a_rule_asks_for_exists(demo: Objects) -> None:
    rules = rules_of(demo)
    assert len(rules) >= 60
    assert faults(rules, known(rules)) == []


@pytest.mark.parametrize("renamed", ["slipway_slo_requests_total", "slipway_operator_lease_held", "up"])
def test_a_rule_that_asks_for_a_metric_of_another_name_would_be_noticed(demo: Objects, renamed: str) -> None:
    rules = rules_of(demo)
    assert faults(rules, {name: labels for name, labels in known(rules).items() if name != renamed})


def test_a_rule_that_asks_for_a_label_of_another_name_would_be_noticed(demo: Objects) -> None:
    rules = rules_of(demo)
    assert faults(rules, known(rules) | {"slipway_degraded": OF_TARGETS | {"what"}})


def test_nothing_needs_kube_state_metrics(demo: Objects) -> None:
    assert not [rule for rule in rules_of(demo) if re.search(r"\b(kube_|container_)", rule["expr"])]


def test_prometheus_without_operator_gets_the_same_rules(demo: Objects) -> None:
    (rule,) = demo.of_kind("PrometheusRule")
    assert yaml.safe_load(demo.one("ConfigMap", "slipway-rules")["data"]["rules.yaml"]) == rule["spec"]


def test_every_alert_says_all_that_somebody_who_is_woken_needs(demo: Objects) -> None:
    assert {rule["alert"] for rule in rules_of(demo) if "alert" in rule} == NAMES
    for rule in rules_of(demo):
        assert rule["labels"].items() >= {"namespace": "ships", "release": "slipway"}.items()
        if "alert" not in rule:
            continue
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["for"]
        said = rule["annotations"]
        assert said.keys() == {"summary", "description", "runbook_url"}
        assert said["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert "$value" in said["description"] or rule["expr"].startswith("absent("), rule["alert"]


def test_rules_of_two_releases_in_one_namespace_choose_their_own_targets(renderer: Renderer, demo: Objects) -> None:
    other = rules_of(renderer.objects(merged(DEMO, ALL), release="yard"))
    of_targets = {
        matcher
        for rule in other
        for name, matchers in re.findall(r"([\w:]+)\{([^}]*)\}", rule["expr"])
        for matcher in re.findall(r'(?:service|release)=~?"([^"]+)"', matchers)
        if name != "slipway_operator_lease_held"
    }
    assert of_targets
    assert all(part.startswith("yard") for matcher in of_targets for part in matcher.split("|"))
    assert {rule["labels"]["release"] for rule in other} == {"yard"}
    assert len(other) == len(rules_of(demo))


def test_alerts_of_resources_tell_those_of_two_namespaces_apart(demo: Objects) -> None:
    for name in ("SlipwayConsumersLagging", "SlipwayNeedsAPerson", "SlipwayKeyOverdue"):
        # Prometheus gives the operator's label `namespace` this name, since each target has one of its own.
        alert = alerts_of(demo)[name]
        assert "max by (exported_namespace, kind, name) (slipway_operator_" in alert["expr"]
        told = re.findall(r"\{\{ \$labels\.(\w+) \}\}", alert["annotations"]["description"])
        assert told == ["kind", "exported_namespace", "name"]


def test_an_alert_is_switched_off_and_set_by_values(renderer: Renderer) -> None:
    alerts = {
        "SlipwayDown": {"enabled": False},
        "SlipwayJobsLate": {"threshold": 77, "for": "3s", "severity": "page"},
    }
    rule = {
        "alerts": alerts,
        "runbookBaseUrl": "https://books.example.com/",
        "alertLabels": {"team": "yard"},
        "leastFailures": 3,
    }
    made = alerts_of(renderer.objects(merged(merged(DEMO, ALL), {"metrics": {"prometheusRule": rule}})))
    assert made.keys() == NAMES - {"SlipwayDown"}
    late = made["SlipwayJobsLate"]
    assert late["expr"].endswith("> 77")
    assert (late["for"], late["labels"]["severity"], late["labels"]["team"]) == ("3s", "page", "yard")
    assert late["annotations"]["runbook_url"] == "https://books.example.com/SlipwayJobsLate.md"
    assert made["SlipwayErrorBudgetBurn"]["expr"].count(">= 3)") == 2


def test_alerts_of_what_isnt_there_are_left_out(renderer: Renderer) -> None:
    without = merged(merged(DEMO, ALL), {"operator": {"enabled": False}, "worker": {"enabled": False}})
    left_out = {"SlipwayWorkerDown"} | {
        path.stem for path in (CHART / "alerts").glob("*.yaml") if "component: operator" in path.read_text()
    }
    assert alerts_of(renderer.objects(without)).keys() == NAMES - left_out
    assert "SlipwayOperatorDown" in left_out


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("SlipwayDawn",), {"enabled": True, "for": "1m", "severity": "page"}),
        (("SlipwayDown", "threshold"), 3),
        (("SlipwayDown", "severity"), "critical"),
        (("SlipwayDown", "for"), "soon"),
        (("SlipwayJobsLate", "threshold"), "many"),
    ],
)
def test_an_alert_that_isnt_there_or_set_wrongly_is_refused(
    renderer: Renderer, path: tuple[str, ...], value: object
) -> None:
    with pytest.raises(RefusedError, match=path[0]):
        renderer.objects(merged(DEMO, nested(("metrics", "prometheusRule", "alerts", *path), value)))


def test_thresholds_of_jobs_migrations_and_rotations_are_their_objectives() -> None:
    alerts = yaml.safe_load((CHART / "values.yaml").read_text())["metrics"]["prometheusRule"]["alerts"]
    assert alerts["SlipwayJobsLate"]["threshold"] == JOBS.seconds
    assert alerts["SlipwayMigrationOverBudget"]["threshold"] == MIGRATION_OVER_BUDGET_SECONDS
    assert alerts["SlipwayKeyOverdue"]["threshold"] == ROTATION_OVERDUE_SECONDS


def test_headless_services_say_where_prometheus_finds_metrics_if_asked_to(renderer: Renderer, demo: Objects) -> None:
    said = {
        service["metadata"]["name"]: service["metadata"]["annotations"]["prometheus.io/port"]
        for service in demo.of_kind("Service")
        if service["metadata"].get("annotations", {}).get("prometheus.io/scrape") == "true"
    }
    assert said == {"slipway-metrics": "9090", "slipway-worker-metrics": "9090", "slipway-operator-metrics": "9090"}
    assert not [
        service for service in renderer.objects(DEMO).of_kind("Service") if "annotations" in service["metadata"]
    ]


def test_inhibitions_name_alerts_that_exist_and_a_page_is_silenced_by_a_page_only(demo: Objects) -> None:
    shipped = yaml.safe_load(demo.one("ConfigMap", "slipway-inhibit-rules")["data"]["inhibit-rules.yaml"])
    severity = {name: alert["labels"]["severity"] for name, alert in alerts_of(demo).items()}
    for rule in shipped["inhibit_rules"]:
        (source,) = _named(rule["source_matchers"], severity)
        targets = _named(rule["target_matchers"], severity)
        assert targets
        assert set(rule["equal"]) >= OF_RULES
        assert severity[source] == "page" or {severity[target] for target in targets} == {"ticket"}, rule


def _named(matchers: list[str], names: dict[str, str]) -> set[str]:
    (pattern,) = (match[1] for each in matchers if (match := re.fullmatch(r'alertname =~? "?([^"]+)"?', each)))
    found = {name for name in names if re.fullmatch(pattern, name)}
    assert found
    return found


def test_the_example_of_production_has_alerts_with_its_team(renderer: Renderer) -> None:
    made = rules_of(renderer.objects(yaml.safe_load(EXAMPLES["production"].read_text())))
    assert {rule["labels"]["team"] for rule in made if "alert" in rule} == {"platform"}
