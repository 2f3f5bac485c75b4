"""The ops port: metrics, probes and the ids of keys; never behind the ingress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from prometheus_client.exposition import choose_encoder
from starlette.types import Receive, Scope, Send

from slipway.http.problems import NO_SNIFFING
from slipway.telemetry import collectors  # noqa: F401 - what it registers belongs to /metrics
from slipway.telemetry.registry import REGISTRY

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

Reply = tuple[int, bytes, bytes]
"""Status, media type, body."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of being ready; the message says why not."""

    name: str
    ok: bool
    message: str = ""


class OpsApp:
    """A small ASGI application. `/livez` (and `/healthz`) look at nothing: they say that the event loop turns.

    `readiness` and `keys` are called for each request and mustn't wait for anything; what they raise is a 503.
    """

    def __init__(self, *, readiness: Callable[[], list[Check]], keys: Callable[[], dict[str, Any]]) -> None:
        self._readiness = readiness
        self._keys = keys
        # Who answers, and that nobody else does: the service is one process a pod.
        self._process = {"process": uuid4().hex, "processes": 1}
        self._routes: dict[str, Callable[[Scope], Reply]] = {
            "/livez": _alive,
            "/healthz": _alive,
            "/readyz": self._ready,
            "/metrics": _metrics,
            "/keys": self._key_ids,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        status, media_type, body = self._reply(scope)
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            NO_SNIFFING,
        ]
        if status == 405:  # noqa: PLR2004 - Method Not Allowed
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _reply(self, scope: Scope) -> Reply:
        route = self._routes.get(scope["path"])
        if route is None:
            return 404, TEXT, b"not found\n"
        if scope["method"] not in {"GET", "HEAD"}:
            return 405, TEXT, b"method not allowed\n"
        try:
            return route(scope)
        except Exception as error:  # noqa: BLE001 - a probe that can't be answered is a no, not a broken connection
            return 503, TEXT, f"{type(error).__name__}\n".encode()

    def _ready(self, scope: Scope) -> Reply:
        checks = self._readiness()
        ready = all(check.ok for check in checks)
        status = 200 if ready else 503
        if not scope["query_string"].startswith(b"verbose"):
            return status, TEXT, b"ok\n" if ready else b"not ready\n"
        lines = [f"[+] {check.name}" if check.ok else f"[-] {check.name}: {check.message}" for check in checks]
        lines.append("ready" if ready else "not ready")
        return status, TEXT, ("\n".join(lines) + "\n").encode()

    def _key_ids(self, _scope: Scope) -> Reply:
        return 200, JSON, orjson.dumps({**self._keys(), **self._process})


def _alive(_scope: Scope) -> Reply:
    return 200, TEXT, b"ok\n"


def _metrics(scope: Scope) -> Reply:
    """Prometheus text, or OpenMetrics with exemplars where `Accept` asks for it."""
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    encode, media_type = choose_encoder(accept.decode("latin-1").lower())  # it compares names as they are written
    return 200, media_type.encode(), encode(REGISTRY)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
