from __future__ import annotations

from pathlib import Path

from slipway_operator.telemetry import DURATION, PROPAGATION, REGISTRY

DOCUMENT = Path(__file__).parents[3] / "docs" / "observability.md"


def test_the_document_lists_exactly_the_metrics_that_there_are() -> None:
    _, _, table = DOCUMENT.read_text(encoding="utf-8").partition("| Operator metric |")
    listed = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    made = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("slipway_")}
    # This one appears with the first event of a kind.
    assert listed == made | {"slipway_operator_last_event_age_seconds"}


def test_the_boundaries_of_histograms_stay_so_that_pods_of_two_releases_can_be_added_up() -> None:
    def boundaries(name: str) -> list[float]:
        told = (sample for family in REGISTRY.collect() if family.name == name for sample in family.samples)
        return [float(sample.labels["le"]) for sample in told if sample.name.endswith("_bucket")]

    DURATION.labels("Bounded")
    PROPAGATION.labels("Bounded")
    looks = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, float("inf")]
    pods = [0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120, 300, float("inf")]
    assert boundaries("slipway_operator_reconcile_duration_seconds")[-len(looks) :] == looks
    assert boundaries("slipway_operator_secret_propagation_seconds")[-len(pods) :] == pods
