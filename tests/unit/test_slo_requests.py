"""Which requests objectives count, as what, and at what price."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Response

from servers.asgi import WholeEdge, call
from slipway.app import openapi_document
from slipway.settings import Settings
from slipway.telemetry import http_metrics
from slipway.telemetry.http_metrics import SCOPE_KEY, HttpMetrics, RouteTable
from slipway.telemetry.objectives import OBJECTIVES, SloClass, counts_as
from slipway.telemetry.registry import REGISTRY

OUTCOMES = ("good", "slow", "failed")
Counts = dict[tuple[str, str], float]


def counts() -> Counts:
    found = {
        (each.value, outcome): REGISTRY.get_sample_value(
            "slipway_slo_requests_total", {"slo_class": each.value, "outcome": outcome}
        )
        for each in SloClass
        for outcome in OUTCOMES
    }
    assert None not in found.values()
    return {key: value or 0.0 for key, value in found.items()}


@pytest.fixture
def grown() -> Callable[[], Counts]:
    """What was counted since the test began."""
    before = counts()
    return lambda: {key: value - before[key] for key, value in counts().items() if value != before[key]}


def api() -> FastAPI:
    app = FastAPI()

    @app.get("/things")
    @app.post("/things")
    async def things() -> None: ...

    @app.post("/enter")
    @counts_as(SloClass.SIGN_IN)
    async def enter() -> None: ...

    @app.get("/probe")
    @counts_as(None)
    async def probe() -> None: ...

    @app.get("/status/{status}")
    async def answer(status: int) -> Response:
        return Response(status_code=status)

    return app


def test_every_series_is_there_from_the_start() -> None:
    assert len(counts()) == 12


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("GET", "/things", {("read", "good"): 1}),
        ("HEAD", "/things", {("read", "good"): 1}),
        ("POST", "/things", {("write", "good"): 1}),
        ("POST", "/enter", {("sign_in", "good"): 1}),
        ("GET", "/status/404", {("read", "good"): 1}),
        ("GET", "/status/500", {("read", "failed"): 1}),
        ("GET", "/status/503", {("read", "failed"): 1}),
        ("GET", "/probe", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/openapi.json", {}),
        ("DELETE", "/things", {}),
        ("INVENTED", "/things", {}),
    ],
)
async def test_a_request_counts_for_the_class_of_its_route(
    grown: Callable[[], Counts], method: str, path: str, counted: Counts
) -> None:
    await call(WholeEdge(api(), Settings()).edge, method, path)
    assert grown() == counted


async def finish(status: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read that ended after so long."""
    monkeypatch.setattr(http_metrics, "monotonic", lambda: seconds)

    async def nothing(*_: Any) -> None: ...

    exchange = SimpleNamespace(started=0.0, method="GET", route="/things", status=status, span=None, trace_id=None)
    await HttpMetrics(nothing, lambda *_: SloClass.READ)({"type": "http", SCOPE_KEY: exchange}, nothing, nothing)


LIMIT = OBJECTIVES[SloClass.READ].seconds


@pytest.mark.parametrize(
    ("status", "seconds", "counted"),
    [
        (200, LIMIT, {("read", "good"): 1}),
        (200, LIMIT + 0.001, {("read", "slow"): 1}),
        (500, LIMIT + 0.001, {("read", "failed"): 1}),
        (499, LIMIT + 0.001, {}),
        (0, LIMIT, {}),
    ],
)
async def test_what_takes_longer_than_its_class_allows_is_slow_unless_it_failed_or_nobody_waited(
    grown: Callable[[], Counts], monkeypatch: pytest.MonkeyPatch, status: int, seconds: float, counted: Counts
) -> None:
    await finish(status, seconds, monkeypatch)
    assert grown() == counted


def test_every_documented_operation_but_the_health_check_has_a_class() -> None:
    from slipway.app import ROUTERS  # noqa: PLC0415 - beside its only use

    table = RouteTable([route for router in ROUTERS for route in router.routes])
    operations = {
        (method.upper(), path): table.slo_class(method.upper(), path)
        for path, found in openapi_document(Settings())["paths"].items()
        for method in found
    }
    assert {where for where, found in operations.items() if found is None} == {("GET", "/health")}
    assert operations["POST", "/api/v1/auth/token"] is SloClass.SIGN_IN
    assert operations["GET", "/api/v1/audit"] is SloClass.BULK
