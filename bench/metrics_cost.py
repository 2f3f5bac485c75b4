"""What HTTP metrics cost a request: the layer around a trivial ASGI application against that application alone."""

from __future__ import annotations

import statistics
from time import monotonic, perf_counter
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from slipway.telemetry.http_metrics import SCOPE_KEY, HttpMetrics
from slipway.telemetry.objectives import SloClass

REPEATS = 40
CALLS = 2000


async def _trivial(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: the layer around it is what is measured."""


async def _unused(*_: Any) -> Any:
    raise AssertionError("nothing is sent or received here")


def metrics_cost() -> float:
    """Microseconds a request."""
    with_metrics = HttpMetrics(_trivial, lambda *_: SloClass.READ)
    _time(with_metrics), _time(_trivial)
    return statistics.median(_time(with_metrics) - _time(_trivial) for _ in range(REPEATS)) / CALLS * 1e6


def _time(app: ASGIApp) -> float:
    """Seconds for CALLS requests, driven without an event loop because none of them waits."""
    exchange = SimpleNamespace(
        started=monotonic(), method="GET", route="/api/v1/users/me", status=200, span=None, trace_id=None
    )
    scope = {"type": "http", "method": "GET", "path": "/api/v1/users/me", "headers": [], SCOPE_KEY: exchange}
    began = perf_counter()
    for _ in range(CALLS):
        request: Any = app(scope, _unused, _unused)
        try:
            request.send(None)
        except StopIteration:
            continue
        raise AssertionError("the application waited for something")
    return perf_counter() - began
