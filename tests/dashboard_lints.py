"""What is wrong with a dashboard of Grafana, a sentence each: queries that ask for what isn't there, and so on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser
import yaml
from prometheus_client import CollectorRegistry

TARGET = {"namespace", "service", "instance", "pod"}
"""Labels that a target has by where it was found."""
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
COLUMNS = 24
"""Of Grafana's grid."""
OF_COUNTERS = {"rate", "irate", "increase"}
TOLD_BY_ALERTS = {"dependency", "kind", "name", "lease", "instance", "slo_class"}
"""Labels that an alert has when it speaks of them."""
Dashboard = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """Every series that may be asked for, with its labels, and those of them that only grow."""

    labels: Mapping[str, set[str]]
    counters: frozenset[str]


def known(registries: tuple[CollectorRegistry, ...], rules: str) -> Known:
    """What the registries, the chart's `rules` (YAML, groups as Prometheus reads them) and Prometheus itself have."""
    labels: dict[str, set[str]] = {"up": set(TARGET), "ALERTS": {"alertname", "alertstate"}}
    counters: set[str] = set()
    for registry in registries:
        for name, of, kind in _scraped(registry):
            # A target has a namespace of its own.
            own = {"exported_namespace" if label == "namespace" else label for label in of}
            labels[name] = labels.get(name, set()) | own | TARGET
            if kind in ("counter", "histogram"):
                counters.add(name)
    for rule in (each for group in yaml.safe_load(rules)["groups"] for each in group["rules"]):
        by = set(re.findall(r"\w+", (re.search(r"by \(([^)]*)\)", rule["expr"]) or ["", ""])[1]))
        said = set(re.findall(r"\w+", str(rule.get("annotations", ""))))
        name = rule.get("record", "ALERTS")
        labels[name] = labels.get(name, set()) | by | rule["labels"].keys() | (said & TOLD_BY_ALERTS)
    return Known(labels, frozenset(counters))


def _scraped(registry: CollectorRegistry) -> Iterator[tuple[str, set[str], str]]:
    """Names as they are scraped, their own labels, and the type."""
    for collector in registry._collector_to_names:  # noqa: SLF001 - nothing public tells labels without series
        declared = getattr(collector, "_labelnames", None)
        for family in collector.collect():
            of = set(declared if declared is not None else getattr(family, "_labelnames", ()))
            of |= set(family.samples[0].labels if family.type == "info" else ())
            for ending in ENDINGS.get(family.type, ("",)):
                yield family.name + ending, of | ({"le"} if ending == "_bucket" else set()), family.type


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Dashboard) -> list[tuple[str, str]]:
    """Where it stands, and the query."""
    asked = [(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]
    marks = [(mark["name"], mark["expr"]) for mark in dashboard["annotations"]["list"]]
    values = [(each["name"], each["query"]) for each in dashboard["templating"]["list"] if each["type"] == "query"]
    taken = [(name, match[1]) for name, query in values if (match := re.fullmatch(r"label_values\((.+), \w+\)", query))]
    return [*asked, *marks, *taken]


def filled(query: str, variables: Mapping[str, str] | None = None) -> str:
    """The query as Grafana would send it; a variable that isn't given is its own name."""
    given = {"__rate_interval": "1m", **(variables or {})}
    return re.sub(r"\$(\w+)", lambda match: given.get(match[1], match[1]), query)


def faults(dashboard: Dashboard, told: Known) -> list[str]:
    """Whatever is wrong; queries that don't parse are told of first, and alone."""
    if unread := [f"{where}: doesn't parse: {query}" for where, query in queries(dashboard) if not _parses(query)]:
        return unread
    return [
        *(f"{where}: {fault}" for where, query in queries(dashboard) for fault in _of_query(query, told)),
        *(f"{panel['title']}: {fault}" for panel in panels(dashboard) for fault in _of_panel(panel, told)),
        *_of_whole(dashboard),
    ]


def _parses(query: str) -> bool:
    try:
        promql_parser.parse(filled(query))
    except ValueError:
        return False
    return True


def _parts(query: str) -> list[Any]:
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(filled(query)), pre_visit=found.append)
    return found


def _of_query(query: str, told: Known) -> Iterator[str]:
    parts = _parts(query)
    yield from _of_selectors(parts, told)
    yield from _of_calls(parts, told)
    if re.search(r"(rate|increase)\(", query) and re.search(r"\[(?!\$__rate_interval\])", query):
        yield "a fixed window, not $__rate_interval"


def _of_selectors(parts: list[Any], told: Known) -> Iterator[str]:
    for part in _selectors(parts):
        if lacking := {each.name for each in part.matchers.matchers} - told.labels.get(part.name, set()):
            there = part.name in told.labels
            yield f"{part.name} has no {sorted(lacking)}" if there else f"{part.name} isn't there"
        asked = {each.name for each in part.matchers.matchers}
        if part.name != "slipway:release:info" and not asked & {"namespace", "exported_namespace"}:
            yield "asks beyond the chosen namespace"


def _of_calls(parts: list[Any], told: Known) -> Iterator[str]:
    having = {label for part in _selectors(parts) for label in told.labels.get(part.name, ())}
    for part in parts:
        by = set(part.modifier.labels) if isinstance(part, promql_parser.AggregateExpr) and part.modifier else set()
        if lacking := by - having:
            yield f"nothing has {sorted(lacking)} to group by"
        if isinstance(part, promql_parser.Call) and part.func.name in OF_COUNTERS:
            (span,) = part.args
            if span.vector_selector.name not in told.counters:
                yield f"{part.func.name} of {span.vector_selector.name}, which is no counter"


def _selectors(parts: list[Any]) -> list[Any]:
    """Of vectors and of ranges alike."""
    matrices = [part.vector_selector for part in parts if isinstance(part, promql_parser.MatrixSelector)]
    return matrices + [part for part in parts if isinstance(part, promql_parser.VectorSelector)]


def _of_panel(panel: dict[str, Any], told: Known) -> Iterator[str]:
    if not panel.get("description"):
        yield "no description"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no unit"
    if panel["type"] == "timeseries" and not panel["options"]["legend"]["showLegend"]:
        yield "no legend"
    for target in panel["targets"]:
        name = target.get("legendFormat", "__auto")
        if name == "__auto":
            yield f"{target['refId']} doesn't say what its lines are called"
            continue
        having = {label for part in _selectors(_parts(target["expr"])) for label in told.labels.get(part.name, ())}
        if lacking := set(re.findall(r"\{\{(\w+)\}\}", name)) - having:
            yield f"lines are called after {sorted(lacking)}, which nothing has"
    for source in (panel.get("datasource"), *(target.get("datasource") for target in panel["targets"])):
        if source is None or source["uid"] != "$datasource":
            yield f"a data source of its own: {source}"


def _of_whole(dashboard: Dashboard) -> Iterator[str]:
    for what, values in (
        ("id", [panel["id"] for panel in dashboard["panels"]]),
        ("title", [panel["title"] for panel in panels(dashboard)]),
    ):
        if doubled := [value for value, times in Counter(values).items() if times > 1]:
            yield f"the same {what} twice: {doubled}"
    if any(not isinstance(panel["id"], int) or panel["id"] < 1 for panel in dashboard["panels"]):
        yield "a panel without id"
    said = {each["name"] for each in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", str(dashboard))) - {"__rate_interval"}
    if said != used:
        yield f"variables that are declared or used, not both: {sorted(said ^ used)}"
    cells = Counter(
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )
    if max(cells.values()) > 1 or max(x for x, _ in cells) >= COLUMNS:
        yield "panels that lie over each other, or beyond the edge"
