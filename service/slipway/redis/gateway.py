"""The connection to Redis, which may vanish at any time: nobody waits for it twice.

Failure policy: `RedisGateway.call` never raises because of Redis. It returns `AWAY`, at most `redis_timeout` after it
was called, and the caller does without. The first failure opens a circuit: from then on `call` returns `AWAY` at once,
until a probe in the background (back-off with jitter, at most a second apart) could write again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final, TypeVar

from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import Counter, Histogram
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from slipway.settings import Settings
from slipway.telemetry.registry import DEGRADED, REGISTRY
from slipway.telemetry.spans import span
from slipway.urls.redis_url import address_of
from slipway.urls.server_url import UrlError

T = TypeVar("T")

CONNECTIONS = 16
"""Commands of one process that Redis works on at once; further ones wait within their own time limit."""

QUEUE = 512
"""Calls that may be under way or waiting; one more counts as a failure, for Redis can't keep up."""

FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0
"""Seconds between two probes; the delay doubles, and each is shortened at random by up to a half."""

FAREWELL = 0.05
"""Seconds that a closed TLS connection waits for the other side's goodbye."""

# uvloop reports a write to a connection that was lost a moment ago as RuntimeError.
FAILURES = (RedisError, OSError, RuntimeError)

log = logging.getLogger("slipway.redis")

_CALLS = Counter("slipway_redis_calls_total", "Calls of Redis by result.", ("result",), registry=REGISTRY)
_answered = _CALLS.labels("answered").inc
_failed = _CALLS.labels("failed").inc
_skipped = _CALLS.labels("skipped").inc
_DURATION = Histogram(
    "slipway_redis_duration_seconds",
    "Time of calls that weren't skipped.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
    registry=REGISTRY,
)
_degraded = DEGRADED.labels("redis")


class Away(Enum):
    """The type of `AWAY`; a type of its own, because Redis also answers with None."""

    AWAY = "away"


AWAY: Final = Away.AWAY
"""Redis isn't there, or didn't answer in time. The command may still have been carried out."""


class RedisSettingsError(ValueError):
    """The URL or the CA file of Redis can't be used; the message never repeats any part of the URL."""


class Script:
    """A Lua script, sent by its digest; the text follows only when Redis doesn't know it (any more)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        try:
            return await redis.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self._text, len(keys), *keys, *arguments)


class RedisGateway:
    """One process's way to Redis. Without `redis_url` it is simply never available, and nothing is degraded.

    Making one raises RedisSettingsError; Redis itself needn't be there.
    """

    def __init__(self, settings: Settings) -> None:
        self.available = False
        """Whether the next `call` will try; read-only outside of this class."""
        self._timeout = settings.redis_timeout
        self._client = _client(settings)
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._under_way = 0
        self._probe: asyncio.Task[None] | None = None
        self._closed = False
        self._delay = FIRST_DELAY
        self._available_since = 0.0
        self._before_return: list[Callable[[Redis], Awaitable[bool]]] = []
        _degraded.set(0)

    @property
    def configured(self) -> bool:
        """Whether there is a Redis at all, be it away just now."""
        return self._client is not None

    def before_return(self, deliver: Callable[[Redis], Awaitable[bool]]) -> None:
        """Have `deliver` called until it returns False (nothing was left to do) before the circuit closes again.

        It is for what must reach Redis before anybody reads there. When it fails, Redis stays away.
        """
        self._before_return.append(deliver)

    async def start(self) -> None:
        """Look once whether Redis is there; returns within `redis_timeout` and never fails because of it."""
        if self._client is None:
            return
        try:
            await self._write_something(self._client)
        except FAILURES as error:
            self._open_circuit(error)
        else:
            self._close_circuit()

    async def close(self) -> None:
        """Close the connections; from now on every call returns `AWAY`."""
        self._closed = True
        self.available = False
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe
        if self._client is not None:
            with suppress(*FAILURES):
                await self._client.aclose(close_connection_pool=True)
        _degraded.set(0)

    async def call(self, operation: Callable[[Redis], Awaitable[T]], name: str) -> T | Away:
        """Run `operation`; `AWAY` when Redis isn't there, fails, or takes longer than `redis_timeout` in all.

        Waiting for a free connection counts. `name` names the span (`redis <name>`) and is one of a few constants.
        What `operation` raises for reasons of its own (not RedisError, OSError, RuntimeError) is raised here.
        """
        if not self.available or self._client is None:
            _skipped()
            return AWAY
        with span(f"redis {name}", kind=SpanKind.CLIENT, attributes={"db.system.name": "redis"}) as current:
            began = perf_counter()
            try:
                result = await self._in_time(self._client, operation)
            except FAILURES as error:
                # The exception itself stays out of the span: a server may quote what it was sent, passwords too.
                current.set_status(StatusCode.ERROR, type(error).__name__)
                _failed()
                self._note_failure(error)
                return AWAY
            finally:
                _DURATION.observe(perf_counter() - began)
            (_skipped if result is AWAY else _answered)()
            return result

    async def _in_time(self, client: Redis, operation: Callable[[Redis], Awaitable[T]]) -> T | Away:
        if self._under_way >= QUEUE:
            raise RedisError("The queue is full.")
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                # The circuit may have opened while this call waited for its turn.
                return await operation(client) if self.available else AWAY
        finally:
            self._under_way -= 1

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
            # Somebody else's value under one of our names spoils that name only.
            log.error("A key of ours in Redis holds something else.")
            return
        if self.available:
            self._open_circuit(error)

    def _open_circuit(self, error: Exception) -> None:
        self.available = False
        _degraded.set(1)
        log.warning("Redis is away; working without it.", extra={"error": _reason(error)})
        # A Redis that fails again right after it returned is asked less and less often.
        returned_lately = monotonic() - self._available_since < LONGEST_DELAY
        self._delay = min(self._delay * 2, LONGEST_DELAY) if returned_lately else FIRST_DELAY
        self._probe = asyncio.create_task(self._probe_until_back(), name="redis-probe")

    def _close_circuit(self) -> None:
        self.available = not self._closed
        self._available_since = monotonic()
        _degraded.set(0)

    async def _probe_until_back(self) -> None:
        if self._client is None:
            return
        # Idle connections may be dead without knowing; each would cost a request its whole time limit.
        with suppress(*FAILURES):
            await self._client.connection_pool.disconnect(inuse_connections=False)
        while not await self._is_back(self._client):
            self._delay = min(self._delay * 2, LONGEST_DELAY)
        self._close_circuit()
        log.info("Redis is back.")

    async def _is_back(self, client: Redis) -> bool:
        await asyncio.sleep(self._delay * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
        try:
            await self._write_something(client)
            while await self._deliver(client):
                pass
        except FAILURES:
            return False
        except Exception:
            # A probe that ended would leave Redis away for ever.
            log.exception("The probe of Redis failed for a reason of its own.")
            return False
        return True

    async def _deliver(self, client: Redis) -> bool:
        """Whether anything was delivered; after a round without, no await lies before the circuit closes."""
        delivered = False
        for deliver in self._before_return:
            async with asyncio.timeout(self._timeout):
                delivered = await deliver(client) or delivered
        return delivered

    async def _write_something(self, client: Redis) -> None:
        """A write, because a full Redis or a read-only replica answers PING and is of no use."""
        async with asyncio.timeout(self._timeout):
            await client.set("slipway:probe", b"", px=1000)


class _VerifiedConnection(SSLConnection):
    """TLS by one context for all; the client would read the CA files for each connection and trust the system's too."""

    def __init__(self, *, context: ssl.SSLContext, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ssl_context.context = context

    def _connection_arguments(self) -> Mapping[str, Any]:
        # Half a minute by default, for which each connection to a silent server would stay open.
        return {**super()._connection_arguments(), "ssl_shutdown_timeout": FAREWELL}


def _client(settings: Settings) -> Redis | None:
    if settings.redis_url is None:
        return None
    try:
        arguments = address_of(settings.redis_url.get_secret_value())
    except UrlError as error:
        raise RedisSettingsError(f"SLIPWAY_REDIS_URL {error}.") from None
    if arguments.pop("tls"):
        arguments["connection_class"] = _VerifiedConnection
        arguments["context"] = _tls_context(settings.redis_ca_file)
    else:
        arguments["connection_class"] = Connection
    pool = ConnectionPool(
        **arguments,
        max_connections=CONNECTIONS + 1,  # one for the probe
        # `call` keeps the time: a limit of the client's own would cost a task for each command.
        socket_timeout=None,
        socket_connect_timeout=settings.redis_timeout,
        retry=Retry(NoBackoff(), 0),
        # RESP2 and no greeting: a new connection costs no round trip beyond AUTH and SELECT.
        protocol=2,
        driver_info=None,
    )
    return Redis(connection_pool=pool)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies the chain and the host name, by the given authorities only or by the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise RedisSettingsError(f"SLIPWAY_REDIS_CA_FILE can't be used: {error}.") from None


def _reason(error: BaseException) -> str:
    """The kind of failure, with the words of this machine (socket, TLS) but never those of the server."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {cause}" if cause is not None and str(cause) else type(error).__name__
