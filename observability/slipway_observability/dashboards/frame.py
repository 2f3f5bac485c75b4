"""What both dashboards have around their panels: variables, annotations, ids, and how they are written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from slipway_observability.dashboards.panels import SOURCE, Panel

NAMESPACE = 'namespace="$namespace"'
RELEASE = f'{NAMESPACE}, release="$release"'
API = f'{NAMESPACE}, service="$api"'
WORKER = f'{NAMESPACE}, service="$worker"'
PODS = f'{NAMESPACE}, service=~"$api|$worker"'
OPERATOR = f'{NAMESPACE}, service="$operator"'
ALL = f'{NAMESPACE}, service=~"$api|$worker|$operator"'

RECENT_SECONDS = 90
"""An annotation begins with what it tells of and is so long."""

_NAMES = "slipway:release:info"
"""Which Services a release's targets have is recorded beside its rules, whatever the release's objects are called."""
SHOWN = {"namespace": ("Namespace", f"label_values({_NAMES}, namespace)")}
SHOWN["release"] = ("Release", f"label_values({_NAMES}{{{NAMESPACE}}}, release)")
HIDDEN = {name: f"label_values({_NAMES}{{{RELEASE}}}, {name})" for name in ("api", "worker", "operator")}


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: while the query has a series, all panels say so in `color`."""

    name: str
    expr: str
    text: str
    color: str


_STARTED = f"(time() - process_start_time_seconds{{{ALL}}}) < {RECENT_SECONDS}"
_ROTATED = 'slipway_operator_rotation_last_timestamp_seconds{exported_namespace="$namespace"}'
MARKS = (
    Mark("Alerts", f'ALERTS{{{RELEASE}, alertstate="firing"}}', "{{alertname}} {{slo_class}}{{dependency}}", "red"),
    Mark(
        "Rollouts",
        f"count by (service, version) (slipway_build_info{{{PODS}}} and on (service, instance) {_STARTED})",
        "{{service}} starts, version {{version}}",
        "blue",
    ),
    Mark(
        "Migrations",
        'max by (name) (slipway_operator_migration_running_seconds{exported_namespace="$namespace"}) > 0',
        "{{name}} migrates the schema",
        "purple",
    ),
    Mark(
        "Rotations",
        f"max by (kind, name) ((time() - {_ROTATED}) < {RECENT_SECONDS})",
        "{{kind}} {{name}} was rotated",
        "orange",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


def framed(uid: str, title: str, description: str, top: Sequence[Panel], rows: Sequence[Row], other: str) -> str:
    """The dashboard's file. `other`: uid of the dashboard that a link leads to."""
    made = dashboard.Dashboard(title).uid(uid).description(description).tags(["slipway"]).refresh("30s")
    made.time("now-1h", "now").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR).editable()
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for name, (label, query) in SHOWN.items():
        made.with_variable(_variable(name, query).label(label))
    for name, query in HIDDEN.items():
        made.with_variable(_variable(name, query).hide(models.VariableHide.HIDE_VARIABLE))
    for mark in MARKS:
        made.annotation(
            dashboard.AnnotationQuery()
            .name(mark.name)
            .datasource(SOURCE)
            .enable(enable=True)
            .icon_color(mark.color)
            .expr(mark.expr)
            .title_format(mark.name)
            .text_format(mark.text)
            .step("15s")
        )
    made.link(
        dashboard.DashboardLink(f"To {other}")
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{other}")
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
    )
    for panel in top:
        made.with_panel(panel)
    for row in rows:
        made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made.with_panel(panel)
    built = made.build()
    # The builder numbers nothing.
    for number, each in enumerate(built.panels or [], start=1):
        each.id_val = number
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(built)), indent=1, sort_keys=True) + "\n"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .query(query)
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
