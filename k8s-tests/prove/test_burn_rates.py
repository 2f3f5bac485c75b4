"""Our burn-rate alerts beside sloth's, of the same objectives: alike above the floor, silent below it.

Errors and traffic are constant over an hour, so that plain arithmetic says who must fire; then they change, and at each
minute the two must agree.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import yaml

from charts.promtool import PACKAGES, Case, tried
from charts.render import DEMO, Renderer, merged
from cluster.binaries import tool
from cluster.packages import ensure
from cluster.progress import Progress
from slipway_observability.rules import ALERTS
from slipway_observability.slos import Slo, slo_rows

pytestmark = pytest.mark.timeout(900)

MINUTES = 60
LEAST = 10
SLOS = {(slo.kind, slo.slo_class.value): slo for slo in slo_rows()}
BAD = {"availability": "failed", "latency": "slow"}
TARGET = 'namespace="ships", service="slipway-metrics"'
BURNS = (0.5, 2, 4, 8, 20, 60)
"""How many times as fast as it may a budget burns; a share beyond all requests is all of them."""
TRAFFIC = (0.5, 2, 20, 2000)
"""Requests a minute."""
CHANGES = {
    "an outage of some minutes": ("0+100x120", "0x40 0+100x10 1000x70"),
    "little traffic, then all fail": ("0+2x60 120x60", "0x60 2+2x59"),
    "one failure now and then": ("0+3x120", "0x9 1x19 2x19 3x19 4x19 5x19 6x19"),
    "a share that creeps up": ("0+50x120", "0+0.02x40 0.8+0.5x40 20.8+9x40"),
    "pods restart meanwhile": ("0+60x50 0+60x70", "0+2x50 0+2x70"),
}
"""Good and bad requests of one class."""


def sloth_rules(folder: Path) -> str:
    """What sloth makes of all objectives."""
    spec = {
        "version": "prometheus/v1",
        "service": "slipway",
        "slos": [_asked(slo) for slo in SLOS.values()],
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    made = folder / "sloth.yaml"
    arguments = [tool("sloth"), "generate", "--input", folder / "spec.yaml", "--out", made]
    subprocess.run(arguments, check=True, capture_output=True, timeout=60)
    return one_group(made.read_text())


def one_group(text: str) -> str:
    """What is recorded and alerted on, in one order: promtool takes groups in any, a minute apart at times."""
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    needed = [
        rule
        for rule in rules
        if re.match(r"slipway:slo_(errors|failures)|slo:sli_error:ratio_rate(?!30d)", rule.get("record", ""))
        or re.match(r"Sloth|Slipway\w+BudgetBurn", rule.get("alert", ""))
    ]
    return yaml.safe_dump({"groups": [{"name": "all", "rules": needed}]}, width=1000)


def _asked(slo: Slo) -> dict[str, object]:
    every = "" if slo.kind == "availability" else ', outcome!="failed"'
    which = f'{TARGET}, slo_class="{slo.slo_class}"'
    counted = "sum(rate(slipway_slo_requests_total{%s%s}[{{.window}}]))"
    return {
        "name": f"{slo.kind}-{slo.slo_class}",
        "objective": round(slo.objective * 100, 7),
        "sli": {
            "events": {
                "error_query": counted % (which, f', outcome="{BAD[slo.kind]}"'),
                "total_query": counted % (which, every),
            }
        },
        "alerting": {
            "name": f"Sloth-{slo.kind}-{slo.slo_class}",
            "page_alert": {"labels": {"severity": "page", "release": "sloth"}},
            "ticket_alert": {"labels": {"severity": "ticket", "release": "sloth"}},
        },
    }


def series(slo: Slo, good: str, bad: str) -> dict[str, str]:
    """Of one class, the others being silent."""

    def counted(outcome: str) -> str:
        return f'slipway_slo_requests_total{{{TARGET}, slo_class="{slo.slo_class}", outcome="{outcome}"}}'

    return {counted(outcome): "0x120" for outcome in ("good", "slow", "failed")} | {
        counted("good"): good,
        counted(BAD[slo.kind]): bad,
    }


def names(slo: Slo, severity: str) -> tuple[str, str]:
    (ours,) = (name for name, what in ALERTS.items() if what == (slo.kind, severity))
    return ours, f"Sloth-{slo.kind}-{slo.slo_class}"


def agreement(slo: Slo) -> dict[str, float]:
    """At how many minutes one fires alone: ours without sloth's, or sloth's above the floor without ours."""
    found: dict[str, float] = {}
    for severity, window in (("page", "1h"), ("ticket", "1d")):
        ours_name, sloths_name = names(slo, severity)
        ours = f'count(ALERTS{{alertname="{ours_name}", alertstate="firing"}})'
        sloths = f'count(ALERTS{{alertname="{sloths_name}", severity="{severity}", alertstate="firing"}})'
        enough = (
            f'count(slipway:slo_failures:increase{window}{{slo="{slo.kind}", slo_class="{slo.slo_class}"}} >= {LEAST})'
        )
        for alone in (f"{ours} unless {sloths}", f"({sloths} and {enough}) unless {ours}"):
            found[f"sum(count_over_time(({alone})[120m:1m])) or vector(0)"] = 0
    return found


def constant(slo: Slo, burn: float, traffic: float) -> Case:
    """An hour in which each window sees the same share."""
    share = min(1.0, burn * slo.budget)
    bad = traffic * share
    fires = []
    # The longer of a severity's windows asks for the lower burn rate, and for as many failures.
    for severity, factor in (("page", 6), ("ticket", 1)):
        ours, sloths = names(slo, severity)
        if share > factor * slo.budget:
            fires.append((sloths, "sloth"))
            fires += [(ours, "slipway")] if bad * MINUTES >= LEAST else []
    requests = series(slo, f"0+{traffic - bad:.9f}x{MINUTES}", f"0+{bad:.9f}x{MINUTES}")
    return Case(requests, set(fires), MINUTES, rules=("ours", "sloth"), also=agreement(slo))


def changing(slo: Slo, good: str, bad: str) -> Case:
    return Case(series(slo, good, bad), None, 120, rules=("ours", "sloth"), also=agreement(slo))


READ, SLOW = SLOS["availability", "read"], SLOS["latency", "bulk"]
CASES = {
    f"{slo.kind}-{slo.slo_class}-burn-{burn:g}-traffic-{traffic:g}": constant(slo, burn, traffic)
    for slo, burn, traffic in product((READ, SLOW), BURNS, TRAFFIC)
} | {
    f"{slo.kind}-{what}".replace(" ", "-"): changing(slo, good, bad)
    for slo, (what, (good, bad)) in product((READ, SLOW), CHANGES.items())
}


@pytest.fixture(scope="module")
def objections(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    ensure(PACKAGES, Progress())
    folder = tmp_path_factory.mktemp("burn-rates")
    # As sloth's, which have no `for`.
    at_once = {name: {"for": "0s"} for name in ALERTS}
    settings = {"rulesConfigMap": {"enabled": True}, "prometheusRule": {"alerts": at_once, "leastFailures": LEAST}}
    objects = renderer.objects(merged(DEMO, {"metrics": settings}))
    ours = objects.one("ConfigMap", "slipway-rules")["data"]["rules.yaml"]
    lenient, loose = ours.replace(f">= {LEAST})", ">= 0)"), ours.replace("> (6 *", "> (5 *")
    rules = {"ours": one_group(ours), "lenient": one_group(lenient), "loose": one_group(loose)}
    control = {
        "control-floor": replace(constant(READ, 20, 2), rules=("lenient", "sloth")),
        "control-factor": replace(changing(READ, "0+2000x120", "0+11x120"), rules=("loose", "sloth")),
    }
    return tried({**CASES, **control}, {**rules, "sloth": sloth_rules(folder)}, folder)


def test_the_grid_has_points_where_both_fire_where_sloth_does_alone_and_where_none_does() -> None:
    fire = [{release for _, release in case.fires} for case in CASES.values() if case.fires is not None]
    assert {frozenset(each) for each in fire} == {frozenset(), frozenset({"sloth"}), frozenset({"sloth", "slipway"})}


@pytest.mark.parametrize("case", CASES)
def test_our_alerts_fire_as_sloths_do_above_the_floor_and_never_without_them(
    objections: dict[str, str], case: str
) -> None:
    assert objections[case] == ""


@pytest.mark.parametrize("control", ["control-floor", "control-factor"])
def test_rules_without_the_floor_or_with_another_factor_would_be_noticed(
    objections: dict[str, str], control: str
) -> None:
    assert "FAILED" in objections[control]
