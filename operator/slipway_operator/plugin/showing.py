"""A report as people read it, verdict first, and as JSON. What comes from the cluster can't steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from slipway_operator.conditions import NOT_PRINTABLE
from slipway_operator.plugin.model import Report, Resource, Seen, Verdict

_COLORS = {Verdict.FINE: "32", Verdict.ACT: "31", Verdict.CHANGE: "33"}
_WORDS = {Verdict.FINE: "FINE", Verdict.ACT: "ACT", Verdict.CHANGE: "UNDER WAY"}


def as_json(report: Report) -> str:
    shown = asdict(report)
    shown["verdict"] = report.verdict.name.lower()
    for finding in shown["findings"]:
        finding["verdict"] = Verdict(finding["verdict"]).name.lower()
    return json.dumps(shown, indent=2)


def as_text(report: Report, *, width: int, color: bool) -> str:
    """Lines of at most `width` characters, but for commands, which are to be copied whole."""
    lines = [_paint(f"{_WORDS[report.verdict]}  ", _COLORS[report.verdict], color=color) + _printable(report.sentence)]
    lines += _others(report)
    lines += ["", *(_fit(line, width) for line in _seen(report.seen))]
    if report.command:
        lines += ["", f"Next:  {_paint(_printable(report.command), '1', color=color)}"]
    if report.page:
        lines.append(f"Read:  {report.page}")
    return "\n".join(lines) + "\n"


def _others(report: Report) -> Iterator[str]:
    for finding in report.findings[1:]:
        yield f"       {_WORDS[finding.verdict]}: {_printable(finding.sentence)}"


def _seen(seen: Seen) -> Iterator[str]:
    yield f"{seen.release} in {seen.namespace}"
    for workload in seen.workloads:
        pods = f"{workload.available}/{workload.wanted}"
        yield f"  {workload.component:<10}{pods:>6}  {workload.image}"
    for resource in seen.resources:
        yield from _resource(resource)
    if seen.dependencies is not None:
        there = [f"{name} {'ok' if fine else 'AWAY'}" for name, fine in sorted(seen.dependencies.items())]
        yield f"  needs     {', '.join(there)}"
    if seen.jobs is not None:
        yield f"  jobs      {seen.jobs.waiting} due, the oldest for {seen.jobs.oldest:.0f} s, {seen.jobs.dead} given up"
    for budget in seen.budgets:
        yield f"  budget    {budget.slo_class} {budget.slo}: {budget.left:.1%} left of 30 days"
    for each in seen.unknown:
        yield f"  not seen  {each}"


_SHORT = {"SchemaMigration": "schema", "KeyRing": "keys", "DatabaseLogin": "login"}


def _resource(resource: Resource) -> Iterator[str]:
    facts = ", ".join(f"{name} {value}" for name, value in resource.facts.items())
    yield f"  {_SHORT[resource.kind]:<10}{resource.reason}  {facts}  ({resource.name})"
    if resource.kind == "SchemaMigration" and resource.state == "Ready":
        unsafe = resource.rollback_unsafe
        yield f"            rollback {f'not safe: {unsafe}' if unsafe else 'safe'}"
    for each in resource.lagging:
        yield f"            lags: {each}"


def _printable(text: str) -> str:
    return NOT_PRINTABLE.sub(" ", text)


def _fit(line: str, width: int) -> str:
    line = _printable(line)
    return line if len(line) <= width else f"{line[: max(1, width - 1)]}…"


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text
