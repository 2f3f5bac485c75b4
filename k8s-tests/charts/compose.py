"""Writes the rules of compose.yaml's Prometheus: those of the chart, for a release without Kubernetes around it."""

from __future__ import annotations

from pathlib import Path

from charts.render import CHART, Renderer
from cluster.binaries import tool

ROOT = CHART.parent
RULES = ROOT / "observability" / "compose" / "rules.yaml"
RELEASE, NAMESPACE = "slipway", "compose"
VALUES = {
    "demo": True,
    "migrations": {"mode": "job"},
    "operator": {"enabled": False},
    "metrics": {"rulesConfigMap": {"enabled": True}},
}
"""No operator watches over containers, so its alerts are left out."""


def rules(renderer: Renderer) -> str:
    """The text of the file, as Helm renders it. Raises RefusedError."""
    config_map = renderer.objects(VALUES, release=RELEASE, namespace=NAMESPACE).one("ConfigMap", f"{RELEASE}-rules")
    text = config_map["data"]["rules.yaml"].strip()
    return f"# The chart's rules for compose.yaml; `make observability` writes them.\n{text}\n"


def main(path: Path = RULES) -> None:
    path.write_text(rules(Renderer(tool("helm"))))


if __name__ == "__main__":
    main()
