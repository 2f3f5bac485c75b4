"""HTTP metrics by prometheus-fastapi-instrumentator, with a route table and instrumentations that cost microseconds.

The library's own way matches every route again for each request and looks labels up by value; here a path finds its
template in one dict or one regular expression, and the metric of a label set is found once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_fastapi_instrumentator.metrics import Info
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp

from slipway.telemetry.registry import REGISTRY

UNMATCHED = "none"
OTHER_METHOD = "OTHER"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SCOPE_KEY = "slipway.exchange"
"""Where the edge leaves the state of a request in its ASGI scope."""

REQUESTS = Counter(
    "http_requests_total",
    "HTTP requests by method, route template and status.",
    ("method", "handler", "status"),
    registry=REGISTRY,
)
DURATION = Histogram(
    "http_request_duration_seconds",
    "Time from a request's arrival to the end of its reply.",
    ("method", "handler"),
    registry=REGISTRY,
    buckets=BUCKETS,
)


class RouteTable:
    """Finds the template of a path: `/items/42` is `/items/{item_id}`; None where no route matches."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._static: dict[str, str] = {}
        self._templates: list[str] = []
        patterns: list[str] = []
        for path, regex in _templates(routes, ""):
            if "{" in path or not regex.endswith("$"):
                self._templates.append(path)
                patterns.append(regex)
            else:
                self._static[path] = path
        # One group around each alternative: the group that matched is the route.
        self._dynamic = re.compile("|".join(f"({pattern})" for pattern in patterns)) if patterns else None

    def resolve(self, path: str) -> str | None:
        template = self._static.get(path)
        if template is not None or self._dynamic is None:
            return template
        match = self._dynamic.match(path)
        return None if match is None or match.lastindex is None else self._templates[match.lastindex - 1]


def _templates(routes: Iterable[BaseRoute], prefix: str) -> Iterable[tuple[str, str]]:
    """Each route's template and the regular expression of the paths it takes, without groups."""
    for route in routes:
        contexts: Callable[[], Iterable[Any]] | None = getattr(route, "effective_route_contexts", None)
        if contexts is not None:
            yield from _templates([context.starlette_route or context for context in contexts()], prefix)
        elif isinstance(route, Mount):
            if route.routes:
                yield from _templates(route.routes, prefix + route.path)
            else:
                yield f"{prefix}{route.path}/{{path}}", f"{re.escape(prefix + route.path)}(?:/.*)?$"
        else:
            path = getattr(route, "path", None)
            if path is not None:
                regex, template, _ = compile_path(prefix + path)
                yield template, re.sub(r"\(\?P<\w+>", "(?:", regex.pattern.removeprefix("^"))


class Instrumentation:
    """Counts and times a finished request; the metrics of each label set are found once."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}

    def __call__(self, info: Info) -> None:
        exchange = info.request.scope[SCOPE_KEY]
        method = info.method if info.method in METHODS else OTHER_METHOD
        handler = info.modified_handler
        counted = (method, handler, exchange.status)
        requests = self._requests.get(counted)
        if requests is None:
            requests = self._requests[counted] = REQUESTS.labels(method, handler, str(exchange.status))
        requests.inc()
        timed = (method, handler)
        duration = self._durations.get(timed)
        if duration is None:
            duration = self._durations[timed] = DURATION.labels(method, handler)
        exemplar = None if exchange.span is None else {"trace_id": exchange.trace_id}
        duration.observe(info.modified_duration, exemplar)


class HttpMetrics(PrometheusInstrumentatorMiddleware):
    """The instrumentator's middleware, told the route by the edge instead of matching it again."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            should_group_status_codes=False,
            registry=REGISTRY,
            instrumentations=[Instrumentation()],
        )

    def _get_handler(self, request: Request) -> tuple[str, bool]:
        route: str | None = request.scope[SCOPE_KEY].route
        return (UNMATCHED, False) if route is None else (route, True)
