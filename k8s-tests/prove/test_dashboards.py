"""A real Prometheus has an answer for every panel in the scene made for it; pictures in docs/ are drawn from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from time import sleep, time
from typing import Any

import pytest

from charts.render import CHART, DEMO, Renderer, merged
from servers.prometheus import Prometheus
from watched.asked import Span, without_data
from watched.pictures import Picture, bundle, draw
from watched.service import Callers, a_bad_time, service

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1500)]

PICTURES = CHART.parent / "docs" / "pictures"
CALM_SECONDS, BAD_SECONDS = 180.0, 220.0
STOPPED = 0.5
"""When PostgreSQL has been stopped for long enough that somebody is woken, as a part of the bad time."""
TOP = 27
"""Rows of the grid down to the first panels of rate, errors and duration."""
OPERATORS = {"Migrations", "Rotations"}
"""Annotations of what the operator does, which isn't in this scene."""


@dataclass(frozen=True)
class Recorded:
    prometheus: Prometheus
    calm: Span
    bad: Span


def rules(renderer: Renderer) -> str:
    on = {"metrics": {"rulesConfigMap": {"enabled": True}}}
    objects = renderer.objects(merged(DEMO, on))
    text: str = objects.one("ConfigMap", "slipway-rules")["data"]["rules.yaml"]
    return text


def dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def recorded(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("watched")
    with service(folder / "service") as watched:
        prometheus = Prometheus(folder / "prometheus", watched.targets(), rules(renderer))
        callers = Callers(watched)
        try:
            callers.start()
            begin = time()
            sleep(CALM_SECONDS)
            turn = time()
            a_bad_time(watched, BAD_SECONDS, folder / "service" / "data" / "keys" / "jwks.json")
            yield Recorded(prometheus, Span(begin, turn), Span(turn, time()))
        finally:
            callers.end()
            prometheus.stop()


def test_every_query_of_the_service_had_data(recorded: Recorded) -> None:
    whole = Span(recorded.calm.begin, recorded.bad.end)
    assert without_data(dashboard("slipway-service"), recorded.prometheus, whole) == OPERATORS


def test_a_query_of_a_label_that_was_renamed_would_be_noticed(recorded: Recorded) -> None:
    """Negative control."""
    renamed = json.loads(json.dumps(deepcopy(dashboard("slipway-service"))).replace("outcome=", "outcomes="))
    found = without_data(renamed, recorded.prometheus, Span(recorded.calm.begin, recorded.bad.end))
    assert {"Failing", "Slow"} <= found


def test_pictures_are_of_a_calm_and_of_a_bad_time(recorded: Recorded) -> None:
    made = bundle()
    board = dashboard("slipway-service")
    stopped = Span(recorded.bad.begin - 60, recorded.bad.begin + STOPPED * BAD_SECONDS)
    whole = Span(recorded.bad.begin - 20, recorded.bad.end)
    draw(recorded.prometheus, Picture(board, recorded.calm), made, PICTURES / "service-calm.png")
    draw(recorded.prometheus, Picture(board, whole), made, PICTURES / "service-bad.png")
    draw(recorded.prometheus, Picture(board, stopped, until=TOP), made, PICTURES / "service-top.png")
    assert (PICTURES / "service-top.png").stat().st_size <= 300_000
