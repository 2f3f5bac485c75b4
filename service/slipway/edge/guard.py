"""Limits before the application, and problems instead of exceptions after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import ceil
from typing import Any, Protocol

from prometheus_client import Counter
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from slipway.context.addresses import network_of
from slipway.edge.conditional import Headers
from slipway.edge.exchange import CLIENT_GONE, HEAD, Cancelled, Exchange
from slipway.edge.faults import as_problem
from slipway.edge.limiter import Decision
from slipway.edge.load import Load
from slipway.edge.sweeper import Sweeper
from slipway.http.media_types import IDENTITY, is_coded
from slipway.http.problems import (
    AppException,
    BadRequestError,
    DeadlineExceededError,
    HeadersTooLargeError,
    PayloadTooLargeError,
    RateLimitedError,
    SessionEndedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from slipway.settings import Settings
from slipway.telemetry.http_metrics import SCOPE_KEY
from slipway.telemetry.registry import REGISTRY

HEALTH = "/health"
WELL_KNOWN = "/.well-known/"
MOST_HEADERS = 200
STOPPING = "The process that worked on this is stopping. Look whether it was done before you repeat it."
SLOW_BODY = "The body of the request took too long to arrive; nothing was done."

POOL_TIMEOUTS = Counter(
    "slipway_pool_timeouts_total", "Requests that waited for a connection in vain.", registry=REGISTRY
)

log = logging.getLogger("slipway.edge")


class Limiter(Protocol):
    """Counts requests. `try_acquire` answers without waiting, or None when `acquire` must ask."""

    def try_acquire(self, key: str) -> Decision | None: ...
    async def acquire(self, key: str) -> Decision: ...
    def give_back(self, key: str, decision: Decision) -> None: ...


class Claims(Protocol):
    @property
    def subject(self) -> str: ...


Identify = Callable[[str], Claims | None]
"""Gives the claims of a valid access token, None for any other; never raises."""
HasEnded = Callable[[Any], bool]
"""Whether a session is known to have ended, by its token's claims; neither waits nor raises."""


class Guard:
    """The innermost layer of the edge. Whatever happens inside, a reply of ours comes out."""

    def __init__(self, app: ASGIApp, settings: Settings, sweeper: Sweeper) -> None:
        self.enter = app
        """The application inside; the edge replaces it once it is built."""
        self._settings = settings
        self._load = Load(settings.max_concurrency, sweeper.in_flight)
        self._policy = f'"default";q={settings.rate_limit};w={settings.rate_limit_window}'.encode()
        self.limiter: Limiter | None = None
        self.identify: Identify | None = None
        self.has_ended: HasEnded = lambda _: False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[SCOPE_KEY]
        exchange.outward = send
        exchange.load = self._load
        try:
            self._check_size(scope, exchange)
            if exchange.path != HEALTH:
                self._check_load(exchange)
                self._identify(scope, exchange)
                await self._check_rate(exchange)
            self._check_coding(scope, exchange)
            if exchange.method == HEAD:
                # Wherever there is a GET; the exchange leaves its body out.
                scope = {**scope, "method": "GET"}
            try:
                await self.enter(scope, receive, send)
            except SessionEndedError:
                await self._count_by_address(exchange)
                raise
            if exchange.status == 0:
                await self._after_silence(exchange)
        except asyncio.CancelledError:
            if exchange.cancelled is None or _cancelled_by_others_too(exchange):
                # By whoever ends all tasks, after `Edge.give_up` at the latest.
                await self._answer(exchange, UnavailableError(STOPPING))
                raise
            await self._after_cancel(exchange)
        except ClientDisconnect:
            exchange.cancelled = Cancelled.CLIENT_GONE
            await self._after_cancel(exchange)
        except Exception as error:  # noqa: BLE001 - the last place that can still answer
            if exchange.cancelled is not None:
                _cancelled_by_others_too(exchange)
                await self._after_cancel(exchange)
            else:
                await self._after_error(exchange, error)

    def _check_size(self, scope: Scope, exchange: Exchange) -> None:
        headers: Headers = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        for name, value in headers:
            size += len(name) + len(value)
        if size > self._settings.max_header_bytes or len(headers) > MOST_HEADERS:
            raise HeadersTooLargeError
        length = exchange.headers.get(b"content-length")
        if length is not None:
            if not length.isdigit():
                raise BadRequestError("Content-Length must be a number.")
            if int(length) > self._settings.max_body_bytes:
                raise PayloadTooLargeError

    def _check_load(self, exchange: Exchange) -> None:
        if not exchange.path.startswith(WELL_KNOWN):
            self._load.check()

    def _identify(self, scope: Scope, exchange: Exchange) -> None:
        """Find out who sends the request; a token that isn't valid is the application's to refuse."""
        client = scope.get("client")
        exchange.client = exchange.address = f"a:{network_of(client[0])}" if client else "a:unknown"
        authorization = exchange.headers.get(b"authorization")
        if authorization is None or self.identify is None or authorization[:7].lower() != b"bearer ":
            return
        claims = self.identify(authorization[7:].strip().decode("latin-1"))
        if claims is not None:
            exchange.claims = claims
            exchange.user_id = claims.subject
            if not self.has_ended(claims):
                exchange.client = f"u:{claims.subject}"

    async def _check_rate(self, exchange: Exchange) -> None:
        limiter = self.limiter
        if limiter is None:
            return
        decision = limiter.try_acquire(exchange.client)
        if decision is None:
            decision = await limiter.acquire(exchange.client)
        exchange.decision = decision
        state = f'"default";r={decision.remaining};t={ceil(decision.reset_after)}'
        exchange.rate_headers = [(b"ratelimit-policy", self._policy), (b"ratelimit", state.encode())]
        if not decision.allowed:
            raise RateLimitedError(retry_after=decision.retry_after)

    async def _count_by_address(self, exchange: Exchange) -> None:
        """Who holds the token of an ended session isn't its user, for all we know, and costs them nothing."""
        if exchange.client == exchange.address or self.limiter is None or exchange.decision is None:
            return
        self.limiter.give_back(exchange.client, exchange.decision)
        exchange.client = exchange.address
        await self._check_rate(exchange)

    def _check_coding(self, scope: Scope, exchange: Exchange) -> None:
        if b"content-encoding" not in exchange.headers or exchange.body_read:
            return
        if is_coded(value for name, value in scope["headers"] if name == b"content-encoding"):
            # What would be taken (RFC 9110 15.5.16).
            raise UnsupportedMediaTypeError(
                "Send the body as it is: no Content-Encoding is read here.", headers={"Accept-Encoding": IDENTITY}
            )

    async def _after_cancel(self, exchange: Exchange) -> None:
        if exchange.cancelled is Cancelled.DEADLINE:
            log.warning("The request passed its deadline.")
            await self._answer(exchange, DeadlineExceededError())
        elif exchange.cancelled is Cancelled.STOPPING:
            log.warning("The process stops before the request is done.")
            await self._answer(exchange, UnavailableError(STOPPING))
        elif exchange.cancelled is Cancelled.SLOW_BODY:
            await self._answer(exchange, DeadlineExceededError(SLOW_BODY))
        elif exchange.status == 0:
            exchange.status = CLIENT_GONE

    async def _after_silence(self, exchange: Exchange) -> None:
        """The application returned without a reply: fine for a client that is gone, else a fault of ours."""
        if exchange.disconnected:
            exchange.status = CLIENT_GONE
        else:
            log.error("The application gave no reply.")
            await self._answer(exchange, AppException())

    async def _after_error(self, exchange: Exchange, error: Exception) -> None:
        problem = as_problem(error)
        if problem is None:
            log.error("The request failed by a fault of ours.", exc_info=error)
            problem = AppException()
        elif not isinstance(error, AppException):
            if isinstance(error, PoolTimeout):
                POOL_TIMEOUTS.inc()
            log.warning("The request failed for now.", extra={"error": type(error).__name__})
        await self._answer(exchange, problem)

    async def _answer(self, exchange: Exchange, problem: AppException) -> None:
        """Send the problem, unless a reply has started: then the server closes the connection in its middle."""
        if exchange.status == 0:
            await exchange.reply(problem)


def _cancelled_by_others_too(exchange: Exchange) -> bool:
    """Take the sweeper's cancellation back; True when the task was cancelled by somebody else as well."""
    return exchange.task is not None and exchange.task.uncancel() > 0


def inner_application(app: Any) -> ASGIApp:
    """The application's stack without the outer layers of FastAPI whose work the edge does.

    What is left out: ServerErrorMiddleware (it would answer 500 in plain text before the edge could),
    FastAPI's own telemetry and its body limit.
    """
    replaced = {"ServerErrorMiddleware", "ExceptionTelemetryMiddleware", "AppBodyLimitMiddleware"}
    layer = app.build_middleware_stack()
    while type(layer).__name__ in replaced:
        layer = layer.app
    return layer  # type: ignore[no-any-return]
