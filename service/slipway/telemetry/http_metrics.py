"""HTTP metrics by prometheus-fastapi-instrumentator, with a route table and instrumentations that cost microseconds.

The library's own way matches every route again for each request and looks labels up by value; here a path finds its
template in one dict or one regular expression, and the metric of a label set is found once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple

from fastapi.routing import APIRoute
from prometheus_client import Counter, Histogram
from prometheus_fastapi_instrumentator.metrics import Info
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from slipway.telemetry.objectives import OBJECTIVES, SloClass, class_of
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
SLO_REQUESTS = Counter(
    "slipway_slo_requests_total",
    "Requests that objectives are about, by class: good, slow (in more than the class's threshold), failed (5xx).",
    ("slo_class", "outcome"),
    registry=REGISTRY,
)
# From the start: `increase` doesn't see the first one of a series that wasn't there.
for _class in SloClass:
    for _outcome in ("good", "slow", "failed"):
        SLO_REQUESTS.labels(_class, _outcome)

FAILED = "5"
"""How the status of a failure begins."""
UNCOUNTED = frozenset(("0", "499"))
"""No reply at all, because its client went away: nobody waited, nobody was failed."""


class RouteTable:
    """Finds the template of a path: `/items/42` is `/items/{item_id}`; None where no route matches."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._static: dict[str, str] = {}
        self._templates: list[str] = []
        self._classes: dict[tuple[str, str], SloClass | None] = {}
        patterns: list[str] = []
        for path, regex, route in _templates(routes, ""):
            if isinstance(route, APIRoute):
                methods = route.methods or set()
                for method in methods | {"HEAD"} if "GET" in methods else methods:
                    self._classes.setdefault((method, path), class_of(route.endpoint, method))
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

    def slo_class(self, method: str, template: str) -> SloClass | None:
        """Whose objectives a request counts for; None: nobody's, as what is no route's, or is one of documentation."""
        return self._classes.get((method, template))


def _templates(routes: Iterable[BaseRoute], prefix: str) -> Iterable[tuple[str, str, BaseRoute]]:
    """Each route with its template and the regular expression of the paths it takes, without groups."""
    for route in routes:
        contexts: Callable[[], Iterable[Any]] | None = getattr(route, "effective_route_contexts", None)
        if contexts is not None:
            yield from _templates([context.starlette_route or context for context in contexts()], prefix)
        elif isinstance(route, Mount):
            if route.routes:
                yield from _templates(route.routes, prefix + route.path)
            else:
                yield f"{prefix}{route.path}/{{path}}", f"{re.escape(prefix + route.path)}(?:/.*)?$", route
        else:
            path = getattr(route, "path", None)
            if path is not None:
                regex, template, _ = compile_path(prefix + path)
                yield template, re.sub(r"\(\?P<\w+>", "(?:", regex.pattern.removeprefix("^")), route


ClassOf = Callable[[str, str], SloClass | None]
"""The class of a request's objectives, by its method and its route's template."""


class _Outcomes(NamedTuple):
    """What a reply of one status counts as, when it took at most `seconds` and when it took longer."""

    in_time: Counter
    late: Counter
    seconds: float


class _Children(NamedTuple):
    requests: Counter
    duration: Histogram
    outcomes: _Outcomes | None


class Instrumentation:
    """Counts and times a finished request; the metrics of each label set are found once."""

    def __init__(self, class_of_request: ClassOf) -> None:
        self._class_of = class_of_request
        self._children: dict[tuple[str, str, str], _Children] = {}

    def __call__(self, info: Info) -> None:
        exchange = info.request.scope[SCOPE_KEY]
        labels = (info.method, info.modified_handler, info.modified_status)
        children = self._children.get(labels)
        if children is None:
            children = self._find(*labels)
        requests, duration, outcomes = children
        requests.inc()
        if outcomes is not None:
            in_time, late, seconds = outcomes
            (in_time if info.modified_duration <= seconds else late).inc()
        duration.observe(info.modified_duration, None if exchange.span is None else {"trace_id": exchange.trace_id})

    def _find(self, method: str, handler: str, status: str) -> _Children:
        known = method if method in METHODS else OTHER_METHOD
        outcomes = _outcomes(self._class_of(method, handler), status)
        children = _Children(REQUESTS.labels(known, handler, status), DURATION.labels(known, handler), outcomes)
        if known == method:  # whatever else a client calls its method isn't kept
            self._children[method, handler, status] = children
        return children


def _outcomes(found: SloClass | None, status: str) -> _Outcomes | None:
    if found is None or status in UNCOUNTED:
        return None
    good, slow, failed = (SLO_REQUESTS.labels(found, outcome) for outcome in ("good", "slow", "failed"))
    seconds = OBJECTIVES[found].seconds
    return _Outcomes(failed, failed, seconds) if status.startswith(FAILED) else _Outcomes(good, slow, seconds)


class HttpMetrics(PrometheusInstrumentatorMiddleware):
    """The instrumentator's middleware with a shorter way to its instrumentations.

    The edge knows route, status and duration already, so nothing is matched, wrapped or copied again. Any
    instrumentation that doesn't read `info.response` works here (`metrics.requests()`, `metrics.latency()` …).
    """

    def __init__(self, app: ASGIApp, class_of_request: ClassOf, *extra: Callable[[Info], None]) -> None:
        super().__init__(
            app,
            should_group_status_codes=False,
            registry=REGISTRY,
            instrumentations=[Instrumentation(class_of_request), *extra],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope[SCOPE_KEY]
        try:
            await self.app(scope, receive, send)
        finally:
            duration = monotonic() - exchange.started
            info = Info(
                Request(scope),
                None,
                exchange.method,
                UNMATCHED if exchange.route is None else exchange.route,
                str(exchange.status),
                duration,
                duration,
            )
            for instrumentation in self.instrumentations:
                instrumentation(info)
