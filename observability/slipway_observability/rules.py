"""Recording rules and burn-rate alerts, as text that the chart fills in.

The alerts compare as sloth's do, short window first, and ask for a least number of failures in the long one besides:
of two requests in a quiet hour one that fails is a ratio of a half, and nobody's night.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slipway.telemetry.objectives import JOBS, LimitInTime
from slipway_observability.slos import BURNS, LONG_WINDOWS, WINDOWS, Kind, Severity, Slo, period

HEAD = "# Made by `make observability` from service/slipway/telemetry/objectives.py.\n"
_REQUESTS = "slipway_slo_requests_total"
_BAD = {"availability": "failed", "latency": "slow"}
_ALL = {"availability": "", "latency": ', outcome!="failed"'}
"""What fails isn't late as well: it is counted once."""

ALERTS: dict[str, tuple[Kind, Severity]] = {
    "SlipwayErrorBudgetBurn": ("availability", "page"),
    "SlipwayErrorBudgetBurnSlow": ("availability", "ticket"),
    "SlipwayLatencyBudgetBurn": ("latency", "page"),
    "SlipwayLatencyBudgetBurnSlow": ("latency", "ticket"),
}
_SUMMARIES: dict[tuple[Kind, Severity], str] = {
    ("availability", "page"): "Requests fail so often that the error budget is soon gone.",
    ("availability", "ticket"): "Requests fail more often than the objective allows.",
    ("latency", "page"): "Requests are slow so often that the latency budget is soon gone.",
    ("latency", "ticket"): "Requests are slow more often than the objective allows.",
}
_DID = {"availability": "failed", "latency": "were slow"}


def recording_rules(slos: Sequence[Slo], jobs: LimitInTime = JOBS) -> str:
    """The file of recording rules."""
    return HEAD + "".join(_recorded(slos, jobs))


def _recorded(slos: Sequence[Slo], jobs: LimitInTime) -> Iterator[str]:
    kinds = list(dict.fromkeys(slo.kind for slo in slos))
    for kind in kinds:
        for window in WINDOWS:
            yield _rule(f"slipway:slo_errors:ratio_rate{window}", {"slo": kind}, _ratio(kind, window))
        for window in LONG_WINDOWS:
            yield _rule(f"slipway:slo_failures:increase{window}", {"slo": kind}, _increase(kind, window))
    for slo in slos:
        labels = {"slo": slo.kind, "slo_class": slo.slo_class.value}
        yield _rule("slipway:slo_objective:ratio", labels, f"vector({slo.objective:.9g})")
    yield _rule(
        "slipway:slo_requests:rate5m", {}, _sum(f"rate({_REQUESTS}{{ {{{{ .api }}}} }}[5m])", "slo_class, outcome")
    )
    for slo in slos:
        labels = {"slo": slo.kind, "slo_class": slo.slo_class.value}
        yield _rule("slipway:slo_budget_remaining:ratio30d", labels, _remaining(slo))
    age = {"slo": "age", "slo_class": "jobs"}
    late = f"max(slipway_jobs_oldest_seconds{{ {{{{ .pods }}}} }}) > bool {jobs.seconds:g}"
    yield _rule("slipway:slo_objective:ratio", age, f"vector({jobs.in_time:.9g})")
    yield _rule("slipway:jobs_late:bool", {}, late)
    spent = f"max(avg_over_time(slipway:jobs_late:bool{{ {{{{ .release }}}} }}[{period()}]))"
    yield _rule("slipway:slo_budget_remaining:ratio30d", age, f"1 - {spent} / {round(1 - jobs.in_time, 9):.9g}")


def _sum(expression: str, by: str = "slo_class") -> str:
    return f"sum by ({by}) ({expression})"


def _ratio(kind: Kind, window: str) -> str:
    bad = f'rate({_REQUESTS}{{ {{{{ .api }}}}, outcome="{_BAD[kind]}" }}[{window}])'
    every = f"rate({_REQUESTS}{{ {{{{ .api }}}}{_ALL[kind]} }}[{window}])"
    return f"{_sum(bad)}\n/ {_sum(every)}"


def _increase(kind: Kind, window: str) -> str:
    return _sum(f'increase({_REQUESTS}{{ {{{{ .api }}}}, outcome="{_BAD[kind]}" }}[{window}])')


def _remaining(slo: Slo) -> str:
    """By requests, not by time; all of it while there were none."""

    def average(outcome: str) -> str:
        series = f'slipway:slo_requests:rate5m{{ {{{{ .release }}}}, slo_class="{slo.slo_class}"{outcome} }}'
        return f"sum(avg_over_time({series}[{period()}]))"

    bad = average(f', outcome="{_BAD[slo.kind]}"')
    return f"1 - {bad}\n/ clamp_min({average(_ALL[slo.kind])}, 1e-9) / {slo.budget:.9g}"


def burn_alert(name: str, slos: Sequence[Slo]) -> str:
    """The file of one alert: a rule for each class, because each has numbers of its own."""
    kind, severity = ALERTS[name]
    return HEAD + "".join(_burn(name, slo, severity) for slo in slos if slo.kind == kind)


def _burn(name: str, slo: Slo, severity: Severity) -> str:
    which = f'{{ {{{{ .release }}}}, slo="{slo.kind}", slo_class="{slo.slo_class}" }}'
    pairs = "\nor\n".join(
        f"(\n"
        f"  (slipway:slo_errors:ratio_rate{burn.short}{which} > ({burn.factor:g} * {slo.budget:.9g}))\n"
        f"  and (slipway:slo_errors:ratio_rate{burn.long}{which} > ({burn.factor:g} * {slo.budget:.9g}))\n"
        f"  and (slipway:slo_failures:increase{burn.long}{which} >= {{{{ .leastFailures }}}})\n"
        f")"
        for burn in BURNS
        if burn.severity == severity
    )
    return (
        f"- alert: {name}\n"
        f"  expr: |-\n{_indented(pairs, 4)}"
        f"  labels: {{slo: {slo.kind}, slo_class: {slo.slo_class}}}\n"
        f"  annotations:\n"
        f"    summary: {_SUMMARIES[slo.kind, severity]}\n"
        f"    description: >-\n"
        f"      {{{{ .percentage }}}} of {{{{ .labels.slo_class }}}} requests {_DID[slo.kind]} lately.\n"
        f"      The objective is that {slo.sentence}.\n"
    )


def _rule(name: str, labels: dict[str, str], expression: str) -> str:
    said = f"  labels: {{{', '.join(f'{key}: {value}' for key, value in labels.items())}}}\n" if labels else ""
    return f"- record: {name}\n{said}  expr: |-\n{_indented(expression, 4)}"


def _indented(text: str, columns: int) -> str:
    return "".join(f"{' ' * columns}{line}\n" for line in text.splitlines())
