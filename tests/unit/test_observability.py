"""What SREs look at is made from the objectives, all of it, and is what lies in the repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slipway.telemetry.objectives import JOBS, OBJECTIVES, SloClass
from slipway_observability.outputs import ALERT_FILES, INDEX, RULES, outputs
from slipway_observability.slos import slo_rows

ROOT = Path(__file__).parents[2]
RARELY = {**OBJECTIVES, SloClass.WRITE: replace(OBJECTIVES[SloClass.WRITE], availability=0.9975)}
SLOW = {**OBJECTIVES, SloClass.BULK: replace(OBJECTIVES[SloClass.BULK], in_time=0.87)}


def drift(root: Path) -> list[str]:
    """The files that aren't what the objectives make of them."""
    return [path.name for path, text in outputs(root).items() if path.read_text(encoding="utf-8") != text]


def test_what_lies_in_the_repository_is_what_the_objectives_make() -> None:
    assert drift(ROOT) == [], "run `make observability`"


def test_a_file_that_was_changed_by_hand_would_be_noticed(tmp_path: Path) -> None:
    """Negative control."""
    for path in (*outputs(ROOT), ROOT / "chart/values.yaml", *(ROOT / ALERT_FILES).glob("*.yaml")):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert drift(tmp_path) == []
    rules = tmp_path / RULES
    rules.write_text(rules.read_text().replace("[1h]", "[2h]"))
    assert drift(tmp_path) == [RULES.name]


def test_one_changed_number_changes_rules_alerts_dashboards_and_index() -> None:
    before = outputs(ROOT)
    for objectives, alerts in (
        (RARELY, {"SlipwayErrorBudgetBurn.yaml", "SlipwayErrorBudgetBurnSlow.yaml"}),
        (SLOW, {"SlipwayLatencyBudgetBurn.yaml", "SlipwayLatencyBudgetBurnSlow.yaml"}),
    ):
        changed = {path.name for path, text in outputs(ROOT, objectives).items() if text != before[path]}
        assert changed == {RULES.name, INDEX.name, "slipway-service.json", *alerts}
        assert slo_rows(objectives) != slo_rows()


def test_a_changed_limit_of_jobs_changes_their_budget() -> None:
    before, after = outputs(ROOT), outputs(ROOT, jobs=replace(JOBS, seconds=77.0))
    assert {path.name for path, text in after.items() if text != before[path]} == {RULES.name, "slipway-service.json"}


def test_the_page_has_the_numbers_of_every_class() -> None:
    page = (ROOT / "docs" / "slos.md").read_text(encoding="utf-8")
    for slo_class, wanted in OBJECTIVES.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{slo_class}` |"))
        assert row.endswith(
            f"| {wanted.availability * 100:g} % | {wanted.in_time * 100:g} % in {wanted.seconds:g} s |"
        ), slo_class
    assert f"{JOBS.in_time * 100:g} % of the time, no due job has waited for more than {JOBS.seconds:g} s" in page
