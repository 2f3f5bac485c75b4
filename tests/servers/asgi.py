"""One request to an ASGI application, told message by message, so that a test can hang up in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson

from slipway.edge.drain import DrainState
from slipway.edge.edge import Edge
from slipway.settings import Settings
from slipway.telemetry.logs import LineWriter
from slipway.telemetry.tracing import Tracing


class Lines:
    """A stream that keeps what is written to it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return

    def all(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text.splitlines()]

    def access(self) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["logger"] == "slipway.access"]


class WholeEdge:
    """An edge with what it needs around it."""

    def __init__(self, app: Any, settings: Settings, tracing: Tracing | None = None) -> None:
        self.stream = Lines()
        self.lines = LineWriter(self.stream)  # type: ignore[arg-type]
        self.drain = DrainState()
        self.edge = Edge(app, settings, tracing=tracing or Tracing(settings), lines=self.lines, drain=self.drain)

    def access(self) -> list[dict[str, Any]]:
        """The access lines so far."""
        self.lines.flush()
        return self.stream.access()


class Call:
    """A client's side of one request."""

    def __init__(
        self,
        app: Any,
        method: str = "GET",
        path: str = "/",
        headers: dict[str, str] | None = None,
        chunks: Iterable[bytes] = (),
        client: str = "203.0.113.7",
    ) -> None:
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": (client, 40000),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }
        self._chunks = list(chunks)
        self._asked = False
        self._over = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.task: asyncio.Task[None] | None = None

    def hang_up(self) -> None:
        self._over.set()

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            chunk = self._chunks.pop(0)
            self._asked = True
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._over.set()

    def start(self) -> Call:
        self.task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def reply(self) -> Call:
        """Wait for the end of the request; the other properties tell of its reply."""
        task = self.task or self.start().task
        assert task is not None
        await task
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1].get("more_body")


async def call(app: Any, method: str = "GET", path: str = "/", **details: Any) -> Call:
    return await Call(app, method, path, **details).reply()
