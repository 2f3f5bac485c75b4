"""Panels as these dashboards have them: each says what it shows, in which unit, and what each line is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = commons.DataSourceRef(type_val="prometheus", uid="$datasource")
WIDTH = 24
"""Columns of a dashboard."""

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first from None."""
P = TypeVar("P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)

CALM: Steps = ((None, "green"),)
ANY_IS_BAD: Steps = ((None, "green"), (1, "red"))


@dataclass(frozen=True, slots=True)
class Q:
    """A query and what its lines are called. `now`: one value, not a line; `exemplars`: traces as dots beside it."""

    expr: str
    legend: str
    now: bool = False
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """In columns and rows of the grid."""

    width: int
    height: int


THIRD, HALF, QUARTER, EIGHTH = Size(8, 8), Size(12, 8), Size(6, 8), Size(3, 4)


def _said(
    panel: P, title: str, description: str, unit: str, queries: Sequence[Q], size: Size, *, as_table: bool = False
) -> P:
    panel.title(title).description(description).unit(unit).datasource(SOURCE).span(size.width).height(size.height)
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref).datasource(SOURCE).expr(query.expr).legend_format(query.legend)
        target = target.instant() if query.now else target.range()
        if query.exemplars:
            target.exemplar(exemplar=True)
        if as_table:
            target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel


def _steps(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Q,
    size: Size = THIRD,
    limits: Steps = (),
    stacked: bool = False,
    colors: dict[str, str] | None = None,
    top: float | None = None,
) -> timeseries.Panel:
    """Values over time. `limits` are drawn as dashed lines; `colors` by the line's name, as a regular expression."""
    panel = _said(timeseries.Panel(), title, description, unit, queries, size)
    panel.min(0).line_width(1).fill_opacity(25 if stacked else 8).show_points(commons.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(commons.LegendDisplayMode.LIST)
        .placement(commons.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(commons.TooltipDisplayMode.MULTI).sort(commons.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL).group("A"))
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(commons.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_steps(limits)).thresholds_style(style)
    if top is not None:
        panel.axis_soft_max(top)
    for name, color in (colors or {}).items():
        fixed = models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        panel.override_by_regexp(name, [fixed])
    return panel


def number(title: str, description: str, unit: str, query: Q, limits: Steps, *, without: str = "none") -> stat.Panel:
    """One value, big, in the colour of what it means. `without`: what stands there when there is none."""
    panel = _said(stat.Panel(), title, description, unit, [query], EIGHTH)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(_steps(limits)).color_mode(commons.BigValueColorMode.BACKGROUND).no_value(without)
    return panel.graph_mode(commons.BigValueGraphMode.NONE)


def bars(title: str, description: str, unit: str, query: Q, limits: Steps, *, size: Size = THIRD) -> bargauge.Panel:
    """A share between 0 and 1 each."""
    panel = _said(bargauge.Panel(), title, description, unit, [query], size)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).min(0).max(1)
    panel.orientation(commons.VizOrientation.HORIZONTAL).display_mode(commons.BarGaugeDisplayMode.BASIC)
    return panel.thresholds(_steps(limits))


def listing(
    title: str, description: str, query: Q, columns: dict[str, str], *, unit: str = "none", size: Size = HALF
) -> table.Panel:
    """One row a series, now. `columns`: labels (and `Value`) to show, in this order, and their headings."""
    panel = _said(table.Panel(), title, description, unit, [query], size, as_table=True).no_value("none")
    order = {"indexByName": {name: at for at, name in enumerate(columns)}, "renameByName": columns}
    keep = {"include": {"names": list(columns)}}
    panel.with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options=keep))
    return panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=order))
