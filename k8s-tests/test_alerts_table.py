"""The table of scenarios, and the checks of it and of what was seen: without a cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charts.render import CHART
from firing.scenarios import SCENARIOS
from firing.table import Scenario, complaints, faults
from firing.watching import Rules, shortened

ALERTS = frozenset(path.stem for path in (CHART / "alerts").glob("*.yaml"))
CAUSE = Scenario(name="cause", fault="a fault", must=frozenset({"A"}), page="A", may={"B": "it follows"})
OTHER = Scenario(name="other", fault="another", must=frozenset({"B"}), page="B")
THIRD = Scenario(name="third", fault="a third", must=frozenset({"C"}), page="C")


def test_nothing_is_wrong_with_a_table_in_which_each_alert_has_its_place() -> None:
    assert list(faults([CAUSE, OTHER, THIRD], {"A", "B", "C"})) == []


@pytest.mark.parametrize(
    ("scenarios", "said"),
    [
        ([CAUSE], "B must fire nowhere"),
        ([CAUSE, replace(OTHER, must=frozenset({"A", "B"}))], "A tells a cause, and must fire in cause, other"),
        ([replace(CAUSE, may={}), replace(OTHER, may={"A": "no"})], "A may fire everywhere"),
        ([CAUSE, replace(OTHER, page="D")], "other speaks of D, which there isn't"),
        ([replace(CAUSE, may={"A": "no"}), OTHER], "cause: A must and may"),
        ([CAUSE, replace(OTHER, inhibited=frozenset({"A"}))], "other: what never fires can't be inhibited"),
    ],
)
def test_a_table_that_shows_less_is_objected_to(scenarios: list[Scenario], said: str) -> None:
    assert said in list(faults(scenarios, {"A", "B"}))


def test_what_must_fire_is_missed_and_what_never_may_is_told() -> None:
    assert complaints(CAUSE, {"A"}) == complaints(CAUSE, {"A", "B"}) == []
    assert complaints(CAUSE, {"B", "C"}) == ["A didn't fire", "C fired"]


def test_the_scenarios_speak_of_alerts_that_there_are_and_each_cause_has_one_of_its_own() -> None:
    unmade = {f"{alert} must fire nowhere" for alert in ALERTS}
    assert set(faults(SCENARIOS, ALERTS)) <= unmade


def test_a_window_that_nobody_thought_of_is_told() -> None:
    assert shortened(Rules("rate(x[5m])", "")).rules == "rate(x[10s])"
    with pytest.raises(KeyError, match="7m"):
        shortened(Rules("rate(x[7m])", ""))
