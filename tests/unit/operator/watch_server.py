"""Speaks an API server's watch protocol over HTTP on this machine: chunked lines of JSON, as long as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
from aiohttp import web

PATIENCE = 10.0
"""Seconds until a test that waits for what never comes fails."""
DATA = "bmV2ZXItdG8tYmUtcmVwZWF0ZWQ="
TOKEN = "token-of-the-operator"


def event(kind: str, shown: Any) -> bytes:
    return json.dumps({"type": kind, "object": shown}).encode() + b"\n"


def secret(kind: str, name: str = "ring") -> bytes:
    """With its data, though only metadata is asked for: nothing may repeat it whatever the server does."""
    metadata = {"name": name, "resourceVersion": "7"}
    return event(kind, {"kind": "Secret", "metadata": metadata, "data": {"keys.json": DATA}})


def bookmark() -> bytes:
    return event("BOOKMARK", {"kind": "Secret", "metadata": {"resourceVersion": "9"}})


def status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": f"{reason} it is"}


@dataclass
class Opened:
    """A watch that a client holds open."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _said: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.query["fieldSelector"].removeprefix("metadata.name=")

    def say(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._said.put_nowait(chunk)

    def close(self) -> None:
        """End the stream as a server does after `timeoutSeconds`."""
        self._said.put_nowait(None)

    def cut(self) -> None:
        """Break the connection off after what was said."""
        self._cut.set()
        self.close()

    async def until_ended(self) -> None:
        await asyncio.wait_for(self.ended.wait(), PATIENCE)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while (chunk := await self._said.get()) is not None:
            await response.write(chunk)
        if self._cut.is_set() and request.transport is not None:
            request.transport.close()
        return response


@dataclass
class WatchServer:
    """`refusal`: what the next watches are answered with instead of a stream."""

    url: str = ""
    token: str = TOKEN
    refusal: dict[str, Any] | None = None
    asked: int = 0
    refused: asyncio.Queue[Mapping[str, str]] = field(default_factory=asyncio.Queue)
    _opened: asyncio.Queue[Opened] = field(default_factory=asyncio.Queue)

    def login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self.url, token=self.token)

    async def opened(self) -> Opened:
        """The next watch that a client opens, or has opened."""
        return await asyncio.wait_for(self._opened.get(), PATIENCE)

    async def until_refused(self, times: int = 1) -> None:
        for _ in range(times):
            await asyncio.wait_for(self.refused.get(), PATIENCE)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.refusal is not None:
            self.refused.put_nowait(request.headers)
            return web.json_response(self.refusal, status=self.refusal["code"])
        opened = Opened(request.path, dict(request.query), request.headers)
        self._opened.put_nowait(opened)
        try:
            return await opened.answer(request)
        finally:
            opened.ended.set()


@asynccontextmanager
async def served() -> AsyncIterator[WatchServer]:
    server = WatchServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
