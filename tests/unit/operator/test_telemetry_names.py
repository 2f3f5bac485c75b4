from __future__ import annotations

from pathlib import Path

from slipway_operator.telemetry import REGISTRY

DOCUMENT = Path(__file__).parents[3] / "docs" / "observability.md"


def test_the_document_lists_exactly_the_metrics_that_there_are() -> None:
    _, _, table = DOCUMENT.read_text(encoding="utf-8").partition("| Operator metric |")
    listed = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    made = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("slipway_")}
    # This one appears with the first event of a kind.
    assert listed == made | {"slipway_operator_last_event_age_seconds"}
