"""Each panel asks for what is there, says what it shows and in which unit, and belongs to no one Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

import slipway.server
import slipway.worker  # noqa: F401
from dashboard_lints import Dashboard, Known, faults, filled, known, panels, queries
from slipway.telemetry.registry import REGISTRY as SERVICE
from slipway_operator.telemetry import REGISTRY as OPERATOR

CHART = Path(__file__).parents[2] / "chart"
NAMES = ("slipway-service", "slipway-operator")
FROM_CHART = {"namespace": "", "release": "", "severity": ""}


def rules() -> str:
    """Recording rules and the labels of alerts, as the chart has them before it fills them in."""
    files = [*(CHART / "rules").glob("*.yaml"), *(CHART / "alerts").glob("*.yaml")]
    made = [
        rule | {"labels": FROM_CHART | rule.get("labels", {})}
        for path in files
        for rule in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    return yaml.safe_dump({"groups": [{"rules": made}]})


@pytest.fixture(scope="module")
def told() -> Known:
    return known((SERVICE, OPERATOR), rules())


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    found: Dashboard = json.loads((CHART / "dashboards" / f"{request.param}.json").read_text(encoding="utf-8"))
    return found


def test_nothing_is_wrong_with_a_dashboard(dashboard: Dashboard, told: Known) -> None:
    assert len(queries(dashboard)) > 30
    assert faults(dashboard, told) == []


def _first(dashboard: Dashboard, kind: str = "timeseries") -> dict[str, Any]:
    return next(panel for panel in panels(dashboard) if panel["type"] == kind)


def _asks(expr: str) -> Callable[[Dashboard], None]:
    def change(dashboard: Dashboard) -> None:
        _first(dashboard)["targets"][0]["expr"] = expr

    return change


def _without(*path: str) -> Callable[[Dashboard], None]:
    def change(dashboard: Dashboard) -> None:
        *above, last = path
        holder: Any = _first(dashboard)
        for key in above:
            holder = holder[key]
        del holder[last]

    return change


def _own_source(dashboard: Dashboard) -> None:
    _first(dashboard)["targets"][0]["datasource"]["uid"] = "prometheus-1"


def _same_id(dashboard: Dashboard) -> None:
    dashboard["panels"][1]["id"] = dashboard["panels"][0]["id"]


def _no_legend(dashboard: Dashboard) -> None:
    _first(dashboard)["options"]["legend"]["showLegend"] = False


def _named_after_nothing(dashboard: Dashboard) -> None:
    _first(dashboard)["targets"][0]["legendFormat"] = "{{colour}}"


def _unused(dashboard: Dashboard) -> None:
    dashboard["templating"]["list"].append({"name": "zone", "type": "custom"})


def _overlapping(dashboard: Dashboard) -> None:
    dashboard["panels"][1]["gridPos"] = dict(dashboard["panels"][0]["gridPos"])


IN = 'namespace="$namespace", service="$api"'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(_asks(f"sum(up{{{IN}}}"), "doesn't parse", id="a query that doesn't parse"),
        pytest.param(_asks(f"slipway_gone{{{IN}}}"), "slipway_gone isn't there", id="a metric that isn't there"),
        pytest.param(_asks('up{namespace="$namespace", colour="red"}'), "up has no ['colour']", id="a label"),
        pytest.param(_asks(f"sum by (colour) (up{{{IN}}})"), "nothing has ['colour']", id="a label to group by"),
        pytest.param(
            _asks(f"rate(slipway_jobs_waiting{{{IN}}}[$__rate_interval])"), "no counter", id="the rate of a gauge"
        ),
        pytest.param(_asks(f"rate(http_requests_total{{{IN}}}[5m])"), "a fixed window", id="a fixed window"),
        pytest.param(_asks('up{service="$api"}'), "beyond the chosen namespace", id="all namespaces"),
        pytest.param(_without("description"), "no description", id="no description"),
        pytest.param(_without("fieldConfig", "defaults", "unit"), "no unit", id="no unit"),
        pytest.param(_no_legend, "no legend", id="no legend"),
        pytest.param(_named_after_nothing, "called after ['colour']", id="lines called after nothing"),
        pytest.param(_own_source, "a data source of its own", id="a data source of its own"),
        pytest.param(_same_id, "the same id twice", id="an id twice"),
        pytest.param(_unused, "variables that are declared or used, not both: ['zone']", id="an unused variable"),
        pytest.param(_overlapping, "lie over each other", id="panels over each other"),
    ],
)
def test_what_would_be_wrong_is_noticed(
    dashboard: Dashboard, told: Known, change: Callable[[Dashboard], None], said: str
) -> None:
    """Negative controls."""
    broken = deepcopy(dashboard)
    change(broken)
    assert any(said in fault for fault in faults(broken, told)), faults(broken, told)


def test_metrics_of_the_process_the_target_and_the_rules_are_known(told: Known) -> None:
    assert {"slipway_build_info", "http_request_duration_seconds_bucket", "process_cpu_seconds_total"} <= set(
        told.labels
    )
    assert told.labels["slipway:slo_budget_remaining:ratio30d"] >= {"slo", "slo_class", "release"}
    assert told.labels["slipway_operator_lease_held"] >= {"namespace", "exported_namespace", "lease"}
    assert "slipway_jobs_waiting" not in told.counters


def test_a_dashboard_is_found_again_and_belongs_to_no_installation(dashboard: Dashboard) -> None:
    assert dashboard["uid"] in NAMES
    assert "id" not in dashboard
    shown = [each["name"] for each in dashboard["templating"]["list"] if each.get("hide") != 2]
    assert shown == ["datasource", "namespace", "release"]


def test_rollouts_migrations_and_rotations_are_told_over_every_panel(dashboard: Dashboard) -> None:
    marks = {mark["name"]: mark["expr"] for mark in dashboard["annotations"]["list"] if mark["enable"]}
    assert marks.keys() == {"Alerts", "Rollouts", "Migrations", "Rotations"}
    for expr in marks.values():
        assert "kube_" not in expr
        promql_parser.parse(filled(expr))


def test_rows_of_the_service_go_from_what_users_feel_to_its_causes() -> None:
    dashboard = json.loads((CHART / "dashboards" / "slipway-service.json").read_text(encoding="utf-8"))
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == [
        "Objectives and their budgets",
        "Rate, errors, duration",
        "Saturation",
        "Dependencies",
        "Jobs",
        "Sign-ins and refusals",
    ]
    assert [t["expr"] for panel in panels(dashboard) for t in panel["targets"] if t.get("exemplar")]
