"""Which alerts a scenario must fire, may fire, and never: pure checks of the table and of what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

SYMPTOMS = frozenset(
    {
        "SlipwayErrorBudgetBurn",
        "SlipwayErrorBudgetBurnSlow",
        "SlipwayLatencyBudgetBurn",
        "SlipwayLatencyBudgetBurnSlow",
        "SlipwayDown",
    }
)
"""They tell what users feel, so several causes may have them; every other alert names its cause."""


@dataclass(frozen=True)
class Scenario:
    """`must`: alerts that fire; `may`: alert → why it follows, in a sentence. All others never fire.

    `inhibited`: of these, those that Alertmanager keeps quiet. `page`: the runbook whose mitigation ends it.
    """

    name: str
    fault: str
    must: frozenset[str]
    page: str
    may: Mapping[str, str] = field(default_factory=dict)
    inhibited: frozenset[str] = frozenset()

    def never(self, alerts: AbstractSet[str]) -> frozenset[str]:
        return frozenset(alerts) - self.must - self.may.keys()


def faults(scenarios: Iterable[Scenario], alerts: AbstractSet[str]) -> Iterator[str]:
    """What keeps the table from showing that each alert fires for its cause and only then."""
    told = list(scenarios)
    for alert in sorted(alerts):
        makers = [scenario.name for scenario in told if alert in scenario.must]
        if not makers:
            yield f"{alert} must fire nowhere"
        if alert not in SYMPTOMS and len(makers) > 1:
            yield f"{alert} tells a cause, and must fire in {', '.join(makers)}"
        if not any(alert in scenario.never(alerts) for scenario in told):
            yield f"{alert} may fire everywhere"
    for scenario in told:
        for alert in sorted((scenario.must | scenario.may.keys() | {scenario.page}) - alerts):
            yield f"{scenario.name} speaks of {alert}, which there isn't"
        for alert in sorted(scenario.must & scenario.may.keys()):
            yield f"{scenario.name}: {alert} must and may"
        if not scenario.inhibited <= scenario.must | scenario.may.keys():
            yield f"{scenario.name}: what never fires can't be inhibited"


def complaints(scenario: Scenario, fired: AbstractSet[str]) -> list[str]:
    """How what fired differs from the scenario's row."""
    missing = [f"{alert} didn't fire" for alert in sorted(scenario.must - fired)]
    return missing + [f"{alert} fired" for alert in sorted(fired - scenario.must - scenario.may.keys())]
