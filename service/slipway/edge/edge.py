"""What surrounds every request, as one pure ASGI application around FastAPI.

Outermost first: identity of the request, access log line and server span (here), HTTP metrics, CORS, limits and errors
(guard.py). All of it shares one `Exchange`; deadlines and clients that went away are the sweeper's. CORS preflights are
answered before the limits: a browser must get its answer, which waits for nothing and costs less than asking the
limiter would; their size is the connection's to bound (protocol.py).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uuid_utils import uuid7

from slipway.context.deadline import set_deadline
from slipway.context.request import current
from slipway.edge.drain import DrainState
from slipway.edge.exchange import Cancelled, Exchange
from slipway.edge.guard import Guard, HasEnded, Identify, Limiter, inner_application
from slipway.edge.sweeper import Sweeper
from slipway.settings import Settings
from slipway.telemetry.access import AccessLog
from slipway.telemetry.http_metrics import METHODS, OTHER_METHOD, SCOPE_KEY, HttpMetrics, RouteTable
from slipway.telemetry.logs import LineWriter
from slipway.telemetry.objectives import SloClass
from slipway.telemetry.tracing import Tracing

_SAFE_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")

EXPOSED_HEADERS = (
    "X-Request-ID",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Location",
    "Idempotency-Replayed",
)
ALLOWED_HEADERS = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)


class Edge:
    """The ASGI application to serve.

        lines = configure_logging(settings)
        edge = Edge(app, settings, tracing=Tracing(settings), lines=lines, drain=DrainState())
        async with edge.serving(limiter=resources.limiter, identify=resources.tokens.identify):
            ...  # a server serves `edge`

    A handler finds its `Exchange` in `request.scope["slipway.exchange"]`: `.claims` (of a valid bearer token, else
    None), `.request_id`, `.user_id` (set it where somebody signs in, and the access line names them).
    Exceptions that reach the edge become problems; the application needs no handler for `Exception` or `AppException`.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, *, tracing: Tracing, lines: LineWriter, drain: DrainState
    ) -> None:
        self.app = app
        self.drain = drain
        self._settings = settings
        self._tracing = tracing
        self._lines = lines
        self._access = AccessLog(lines)
        self._sweeper = Sweeper()
        self._guard = Guard(self._start, settings, self._sweeper)
        self._routes: RouteTable | None = None
        inside: ASGIApp = self._guard
        if settings.cors_origins:
            inside = CORSMiddleware(
                inside,
                allow_origins=settings.cors_origins,
                allow_credentials=settings.cors_credentials,
                allow_methods=sorted(METHODS),
                allow_headers=(*ALLOWED_HEADERS, *settings.cors_headers),
                expose_headers=EXPOSED_HEADERS,
            )
        self._inside: ASGIApp = HttpMetrics(inside, self._slo_class)

    @asynccontextmanager
    async def serving(
        self,
        *,
        limiter: Limiter | None = None,
        identify: Identify | None = None,
        has_ended: HasEnded = lambda _: False,
    ) -> AsyncIterator[None]:
        """Enforce rate limits and deadlines while the block runs; without it requests have neither."""
        self._guard.limiter = limiter
        self._guard.identify = identify
        self._guard.has_ended = has_ended
        self._sweeper.start()
        try:
            yield
        finally:
            await self._sweeper.stop()
            self._lines.close()

    @property
    def in_flight(self) -> int:
        """Requests being worked on now."""
        return len(self._sweeper.in_flight)

    def give_up(self) -> None:
        """End what is still worked on: who has no reply yet is told why (503), a reply that has begun is broken off."""
        for exchange in list(self._sweeper.in_flight):
            exchange.cancel(Cancelled.STOPPING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = self._open(scope, receive, send)
        context = current.set(exchange)
        set_deadline(exchange.deadline)
        span = self._begin_span(scope, exchange)
        self._sweeper.in_flight.add(exchange)
        try:
            await self._inside(scope, exchange.receive, exchange.send)
        finally:
            self._sweeper.in_flight.discard(exchange)
            if exchange.watcher is not None:
                exchange.watcher.cancel()
            self._access.write(exchange)
            if span is not None:
                self._end_span(exchange, span)
            current.reset(context)
            exchange.let_go()
            del scope[SCOPE_KEY]

    def _open(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        headers = dict(reversed(scope["headers"]))
        given = headers.get(b"x-request-id")
        if given is not None and _SAFE_ID.fullmatch(given):
            request_id, id_header = given.decode(), given
        else:
            request_id = uuid7().hex
            id_header = request_id.encode()
        exchange = Exchange(
            scope,
            receive,
            send,
            request_id=request_id,
            id_header=id_header,
            headers=headers,
            settings=self._settings,
            drain=self.drain,
        )
        exchange.route = self._route_table().resolve(exchange.path)
        scope[SCOPE_KEY] = exchange
        return exchange

    def _route_table(self) -> RouteTable:
        if self._routes is None:
            self._routes = RouteTable(self.app.routes)
        return self._routes

    def _slo_class(self, method: str, template: str) -> SloClass | None:
        return self._route_table().slo_class(method, template)

    def _begin_span(self, scope: Scope, exchange: Exchange) -> object | None:
        """Give the exchange its trace ids; the token of its span when one is recorded."""
        traceparent = exchange.headers.get(b"traceparent")
        if not self._tracing.begin(exchange, traceparent, exchange.headers.get(b"tracestate")):
            return None
        method = exchange.method if exchange.method in METHODS else OTHER_METHOD
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": exchange.path,
            "url.scheme": scope.get("scheme", "http"),
            "slipway.request_id": exchange.request_id,
        }
        if exchange.route is not None:
            attributes["http.route"] = exchange.route
        name = f"{method} {exchange.route}" if exchange.route is not None else method
        return self._tracing.start_server_span(exchange, name, traceparent, attributes)

    def _end_span(self, exchange: Exchange, token: object) -> None:
        attributes: dict[str, Any] = {"http.response.status_code": exchange.status}
        if exchange.user_id is not None:
            attributes["enduser.id"] = exchange.user_id
        self._tracing.end(exchange, token, attributes, exchange.status)

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The first request builds the application's stack; later ones go straight to it."""
        inner = inner_application(self.app)

        async def enter(scope: Scope, receive: Receive, send: Send) -> None:
            scope["app"] = self.app
            await inner(scope, receive, send)

        self._guard.enter = enter
        await enter(scope, receive, send)
