"""The rendered rules, tried by Debian's promtool: each alert fires on its fault, and only then."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from charts.promtool import PACKAGES, Case, Series, check, configured, tried
from charts.render import CHART, DEMO, Renderer, merged
from cluster.packages import ensure
from cluster.progress import Progress

HOUR = 60
LONG = 90
CLASSES = ("read", "write", "sign_in", "bulk")


def healthy(minutes: int = LONG, release: str = "slipway") -> dict[str, str]:
    """Every series of a release that is well, for so many scrapes; twenty requests of each class a minute."""
    name = release if release == "slipway" else f"{release}-slipway"

    def target(suffix: str, metric: str, labels: str = "") -> str:
        where = f'namespace="ships", service="{name}-{suffix}", instance="{release}-{suffix}:9090"'
        return f"{metric}{{{where}{', ' if labels else ''}{labels}}}"

    def resource(kind: str, labels: str = "") -> str:
        return f'exported_namespace="ships", kind="{kind}", name="{release}"{labels}'

    steady = f"x{minutes}"
    series = {}
    for each in CLASSES:
        for outcome, value in (("good", "0+20"), ("slow", "0+0"), ("failed", "0+0")):
            counted = f'slo_class="{each}", outcome="{outcome}"'
            series[target("metrics", "slipway_slo_requests_total", counted)] = value + steady
    for suffix in ("metrics", "worker-metrics", "operator-metrics"):
        series[target(suffix, "up")] = "1" + steady
        series[target(suffix, "process_start_time_seconds")] = "7" + steady
        series[target(suffix, "process_resident_memory_bytes")] = "60" + steady
        series[target(suffix, "slipway_memory_limit_bytes")] = "100" + steady
    for suffix in ("metrics", "worker-metrics"):
        for dependency in ("postgresql", "redis", "collector"):
            series[target(suffix, "slipway_degraded", f'dependency="{dependency}"')] = "0" + steady
        for result in ("accepted", "refused"):
            labels = f'set="keys", result="{result}"'
            series[target(suffix, "slipway_file_reloads_total", labels)] = "0" + steady
    series[target("metrics", "slipway_pool_timeouts_total")] = "0" + steady
    series[target("worker-metrics", "slipway_jobs_oldest_seconds")] = "1" + steady
    series[target("worker-metrics", "slipway_jobs_dead")] = "0" + steady
    lease = f'exported_namespace="ships", lease="{release}"'
    series[target("operator-metrics", "slipway_operator_lease_held", lease)] = "1" + steady
    for metric, value in (("consumers_lagging", "0"), ("resource_stalled", "0")):
        series[target("operator-metrics", f"slipway_operator_{metric}", resource("KeyRing"))] = value + steady
    due = target("operator-metrics", "slipway_operator_rotation_due_timestamp_seconds", resource("KeyRing"))
    series[due] = "999999" + steady
    migration = f'exported_namespace="ships", name="{release}"'
    series[target("operator-metrics", "slipway_operator_migration_running_seconds", migration)] = "0" + steady
    series[target("operator-metrics", "slipway_operator_migration_budget_seconds", migration)] = "3600" + steady
    return series


def but(series: Series, **changes: str | None) -> dict[str, str]:
    """With the values of each series whose metric's name, or text, has this in it; None: without it."""
    found = dict(series)
    for part, values in changes.items():
        wanted = part.split("__")
        hit = [name for name in series if all(each in name for each in wanted)]
        assert hit, part
        for name in hit:
            if values is None:
                del found[name]
            else:
                found[name] = values
    return found


def ours(*alerts: str) -> list[tuple[str, str]]:
    return [(alert, "slipway") for alert in alerts]


WELL = healthy()
READS = 'slo_requests__slo_class="read"'
FEW = but(WELL, **{f'{READS}__"good"': f"0+2x{LONG}", f'{READS}__"failed"': f"0x70 1 2x{LONG - 71}"})
"""Two reads a minute, of which two in a row fail."""
ALL_FAIL = but(WELL, **{f'{READS}__"good"': f"0+2x{HOUR} 120x10", f'{READS}__"failed"': f"0x{HOUR} 2+2x9"})
"""Two reads a minute, which all fail from the first hour on."""
RESTARTED = "0+20x20 0+20x20 0+20x20 0+20x20"

OBJECTIVES: dict[str, Case] = {
    "healthy": Case(WELL, [], LONG, also={'min(slipway:slo_budget_remaining:ratio30d{release="slipway"})': 1}),
    "nothing at all": Case({}, ours("SlipwayDown", "SlipwayWorkerDown", "SlipwayOperatorDown"), LONG),
    "no requests": Case(but(WELL, slo_requests=f"0x{LONG}"), [], LONG),
    "two failures of few": Case(FEW, [], LONG),
    "all of few fail": Case(ALL_FAIL, ours("SlipwayErrorBudgetBurn"), HOUR + 10),
    "all fail": Case(
        but(WELL, **{'slo_requests__"good"': "0+20x60", 'slo_requests__"failed"': "0x60 20+20x5"}),
        ours("SlipwayErrorBudgetBurn"),
        HOUR + 5,
        also={'count(ALERTS{alertname="SlipwayErrorBudgetBurn", alertstate="firing"})': 4},
    ),
    "two in a hundred fail for long": Case(
        but(WELL, **{f'{READS}__"failed"': f"0+0.4x{LONG}"}),
        ours("SlipwayErrorBudgetBurn", "SlipwayErrorBudgetBurnSlow"),
        LONG,
        also={'sum(slipway:slo_budget_remaining:ratio30d{slo="availability", slo_class="read"}) < bool -15': 1},
    ),
    "four in a thousand fail for a day": Case(
        but(healthy(100), **{f'{READS}__"failed"': "0+0.4x100", f'{READS}__"good"': "0+100x100"}),
        ours("SlipwayErrorBudgetBurnSlow"),
        1440,
        step=15,
    ),
    "all are slow": Case(
        but(WELL, **{f'{READS}__"good"': "0+20x60", f'{READS}__"slow"': "0x60 20+20x20"}),
        ours("SlipwayLatencyBudgetBurn", "SlipwayLatencyBudgetBurnSlow"),
        HOUR + 20,
    ),
    "four of a hundred are slow for a day": Case(
        but(healthy(100), **{f'{READS}__"slow"': "0+4x100", f'{READS}__"good"': "0+100x100"}),
        ours("SlipwayLatencyBudgetBurnSlow"),
        1440,
        step=15,
    ),
    "pods restart and all is well": Case(but(WELL, **{'slo_requests__"good"': RESTARTED}), [], 80),
    "pods restart and requests fail": Case(
        but(WELL, **{f'{READS}__"failed"': "0+2x5 0+2x5 0+2x5"}), ours("SlipwayErrorBudgetBurn"), 15
    ),
    "the other release fails": Case(
        but(healthy(LONG, "yard"), **{'slo_requests__"failed"': "0+20x20", "slipway_jobs_dead": "3x20"}) | WELL,
        [("SlipwayErrorBudgetBurn", "yard"), ("SlipwayErrorBudgetBurnSlow", "yard"), ("SlipwayJobsDead", "yard")],
        20,
        rules=("slipway", "yard"),
    ),
}

CAUSES: dict[str, Case] = {
    "no API": Case(but(WELL, **{'up{__"slipway-metrics"': f"0x{LONG}"}), ours("SlipwayDown"), 10),
    "no database": Case(but(WELL, postgresql="0x5 1x60"), ours("SlipwayDatabaseAway"), 20),
    "no Redis": Case(but(WELL, redis="0x5 1x60"), ours("SlipwayDegraded"), 20),
    "no collector, for a moment": Case(but(WELL, collector="0x5 1x5 0x60"), [], 20),
    "no connection to be had": Case(but(WELL, pool_timeouts="0x5 1+1x60"), ours("SlipwayPoolExhausted"), 20),
    "late jobs": Case(but(WELL, jobs_oldest="0x5 0+60x60"), ours("SlipwayJobsLate"), 20),
    "a dead job": Case(but(WELL, jobs_dead="0x5 1x60"), ours("SlipwayJobsDead"), 20),
    "no worker": Case(but(WELL, **{"up{__worker": "0x60"}), ours("SlipwayWorkerDown"), 20),
    "refused files": Case(but(WELL, reloads__refused="0x5 1x60"), ours("SlipwayFilesRefused"), 15),
    "accepted files": Case(but(WELL, reloads__accepted="0x5 1x60"), [], 15),
    "no operator": Case(but(WELL, operator=None), ours("SlipwayOperatorDown"), 20),
    "no leader": Case(but(WELL, lease_held="1x5 0x60"), ours("SlipwayOperatorNotLeading"), 20),
    "a change of leaders": Case(but(WELL, lease_held="1x5 0x2 1x60"), [], 20),
    "lagging pods": Case(but(WELL, lagging="0x5 2x60"), ours("SlipwayConsumersLagging"), 30),
    "stalled": Case(but(WELL, stalled="0x5 1x60"), ours("SlipwayNeedsAPerson"), 20),
    "a long migration": Case(but(WELL, migration_running="0x5 0+60x100"), ours("SlipwayMigrationOverBudget"), 70),
    "a migration within its budget": Case(but(WELL, migration_running="0x5 0+60x50 0x60"), [], 65),
    "an overdue key": Case(but(WELL, rotation_due="600x100"), ours("SlipwayKeyOverdue"), 80),
    "restarts": Case(but(WELL, start_time__worker="1x5 2x5 3x5 4x60"), ours("SlipwayRestarts"), 20),
    "two restarts": Case(but(WELL, start_time="1x5 2x5 3x60"), [], 30),
    "hardly any memory left": Case(but(WELL, resident__operator="95x60"), ours("SlipwayMemoryNearLimit"), 20),
}

CASES = OBJECTIVES | {name: replace(case, rules=("causes",)) for name, case in CAUSES.items()}

CONTROLS = {
    "two failures of few, without the least number": Case(FEW, [], LONG, rules=("floorless",)),
    "two releases, not told apart": Case(
        OBJECTIVES["the other release fails"].series,
        OBJECTIVES["the other release fails"].fires,
        20,
        rules=("mixed", "yard"),
    ),
}
"""Each must fail."""


@pytest.fixture(scope="module")
def rules(renderer: Renderer) -> dict[str, str]:
    def of(release: str, **settings: object) -> str:
        values = merged(DEMO, {"metrics": {"rulesConfigMap": {"enabled": True}, "prometheusRule": settings}})
        objects = renderer.objects(values, release=release)
        (found,) = (one["data"]["rules.yaml"] for one in objects.of_kind("ConfigMap") if "rules.yaml" in one["data"])
        return str(found)

    slipway = of("slipway")
    # What asks for nothing that is recorded; a quarter of the rules, so it takes a quarter of the time.
    document = yaml.safe_load(slipway)
    (group,) = document["groups"]
    group["rules"] = [rule for rule in group["rules"] if "slipway:" not in rule["expr"] and "alert" in rule]
    mixed = slipway.replace('service="slipway-metrics"', 'service=~".+-metrics|slipway-metrics"')
    return {
        "slipway": slipway,
        "yard": of("yard"),
        "floorless": of("slipway", leastFailures=1),
        "mixed": mixed,
        "causes": yaml.safe_dump(document),
    }


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    ensure(PACKAGES, Progress())


@pytest.fixture(scope="module")
def objections(rules: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tried({**_filed(CASES), **_filed(CONTROLS)}, rules, tmp_path_factory.mktemp("promtool"))


def _filed(cases: Mapping[str, Case]) -> dict[str, Case]:
    return {_file(name): case for name, case in cases.items()}


def _file(name: str) -> str:
    return name.replace(" ", "-")


@pytest.mark.parametrize("case", CASES)
def test_exactly_the_alerts_of_a_fault_fire(objections: dict[str, str], case: str) -> None:
    assert objections[_file(case)] == ""


@pytest.mark.parametrize("case", CONTROLS)
def test_rules_without_their_guard_would_be_noticed(objections: dict[str, str], case: str) -> None:
    assert "SlipwayErrorBudgetBurn" in objections[_file(case)]


def test_every_alert_is_seen_to_fire_and_to_be_silent(rules: dict[str, str]) -> None:
    names = {rule["alert"] for rule in yaml.safe_load(rules["slipway"])["groups"][0]["rules"] if "alert" in rule}
    assert {alert for case in CASES.values() for alert, release in case.fires or () if release == "slipway"} == names


def test_promtool_finds_no_fault_with_the_rules(rules: dict[str, str], tmp_path: Path) -> None:
    assert "SUCCESS" in check(rules["slipway"], tmp_path)


def test_alertmanager_takes_the_inhibitions_beside_a_route_of_its_own(renderer: Renderer, tmp_path: Path) -> None:
    objects = renderer.objects(merged(DEMO, {"metrics": {"inhibitRules": {"enabled": True}}}))
    shipped = objects.one("ConfigMap", "slipway-inhibit-rules")["data"]["inhibit-rules.yaml"]
    said = configured(f"{shipped}\nroute: {{receiver: nobody}}\nreceivers: [{{name: nobody}}]\n", tmp_path)
    assert f"{len(yaml.safe_load(shipped)['inhibit_rules'])} inhibit rules" in said
    assert "SUCCESS" in said


def test_an_inhibition_that_alertmanager_refuses_would_be_noticed(tmp_path: Path) -> None:
    """Negative control."""
    broken = "inhibit_rules: [{source_matchers: ['alertname ~ x']}]\nroute: {receiver: a}\nreceivers: [{name: a}]\n"
    with pytest.raises(subprocess.CalledProcessError):
        configured(broken, tmp_path)


def test_the_pages_scrape_job_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    page = (CHART.parent / "docs" / "slos.md").read_text()
    (job,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # Debian's Prometheus is built without Kubernetes; what it would find is given.
    given = job.replace("kubernetes_sd_configs: [{role: endpoints}]", "static_configs: []")
    assert given != job
    (tmp_path / "prometheus.yaml").write_text(given)
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yaml"], check=True, capture_output=True)
