"""All that `make observability` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slipway.telemetry.objectives import JOBS, OBJECTIVES, LimitInTime, Objective, SloClass
from slipway_observability.dashboards.operator import operator
from slipway_observability.dashboards.service import service
from slipway_observability.rules import ALERTS, burn_alert, recording_rules
from slipway_observability.slos import Slo, slo_rows

RULES = Path("chart/rules/objectives.yaml")
ALERT_FILES = Path("chart/alerts")
DASHBOARDS = Path("chart/dashboards")
INDEX = Path("docs/runbooks/README.md")


def outputs(
    root: Path, objectives: Mapping[SloClass, Objective] = OBJECTIVES, jobs: LimitInTime = JOBS
) -> dict[Path, str]:
    """What each file should hold. Reads the alerts that people wrote, and their severities in the chart's values."""
    slos = slo_rows(objectives)
    made = {root / ALERT_FILES / f"{name}.yaml": burn_alert(name, slos) for name in ALERTS}
    boards = {
        root / DASHBOARDS / "slipway-service.json": service(slos, jobs),
        root / DASHBOARDS / "slipway-operator.json": operator(),
    }
    return {root / RULES: recording_rules(slos, jobs), **made, **boards, root / INDEX: index(root, slos)}


def index(root: Path, slos: Sequence[Slo]) -> str:
    """Markdown: every alert with its runbook, pages first."""
    values = yaml.safe_load((root / "chart/values.yaml").read_text(encoding="utf-8"))
    settings: dict[str, Any] = values["metrics"]["prometheusRule"]["alerts"]
    written = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))[0]["annotations"]["summary"]
        for path in sorted((root / ALERT_FILES).glob("*.yaml"))
        if path.stem not in ALERTS
    }
    said = {**{name: _promise(name, slos) for name in ALERTS}, **written}
    rows = [
        f"| [{name}]({name}.md) | {settings[name]['severity']} | {said[name]} |"
        for name in sorted(said, key=lambda name: (settings[name]["severity"], name))
    ]
    head = (
        "# Runbooks\n\n"
        "One for each alert: what it means, whom it hurts, how to find out, what to do. A page wakes somebody; a\n"
        "ticket waits for the morning. [Objectives and burn rates](../slos.md). Made by `make observability`.\n\n"
        "Say where first, by the labels of the alert; then the commands paste as they are:\n\n"
        "```text\nexport NAMESPACE=… RELEASE=…\n```\n\n"
        "| Alert | Severity | When |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _promise(name: str, slos: Sequence[Slo]) -> str:
    kind, severity = ALERTS[name]
    speed = "soon gone" if severity == "page" else "spent too fast"
    promised = "; ".join(slo.sentence for slo in slos if slo.kind == kind)
    return f"The budget of an objective is {speed}: {promised}."
