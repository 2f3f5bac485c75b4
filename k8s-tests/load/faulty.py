"""A stand-in for Slipway that breaks on demand: proof that the load generator counts what breaks."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

EMAIL = "admin@example.com"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; `at` in seconds of the loop's clock."""

    at: float
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def of_the_load(self) -> bool:
        """Neither a sign-in nor the reading at the end."""
        return not any(part in self.path for part in ("/auth/", "per_page=100", "/exports/"))


Fault = Callable[["FaultySlipway", Seen, asyncio.StreamWriter], Awaitable[None]]
"""Does to one request what shall go wrong; a connection that is left open serves on."""


@dataclass
class FaultySlipway:
    """Each `every`th request of the load whose path ends with `where` meets the fault, the others are answered."""

    fault: Fault | None = None
    every: int = 10
    where: str = ""
    method: str = ""
    signing_in: bool = False
    """The sign-ins under load meet the fault, and nothing else does."""
    delay: float = 0.0
    closing: bool = False
    """Each reply says `Connection: close`."""
    lazy: bool = False
    """No export is ever made."""
    lifetime: int = 900
    port: int = 0
    faults: int = 0
    seen: list[Seen] = field(default_factory=list)
    items: list[dict[str, str]] = field(default_factory=list)
    remembered: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._matching = itertools.count(1)
        self.ended = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yields its address."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            self.ended.set()
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        try:
            while not writer.is_closing():
                request = await _read(reader, number)
                self.seen.append(request)
                await asyncio.sleep(self.delay)
                if self._meets_fault(request) and self.fault is not None:
                    self.faults += 1
                    await self.fault(self, request, writer)
                else:
                    writer.write(self.answer(request))
                if self.closing:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _meets_fault(self, request: Seen) -> bool:
        if self.signing_in:
            matches = "/auth/token" in request.path and len(self.seen) > 1
        else:
            matches = request.of_the_load and urlsplit(request.path).path.endswith(self.where)
            matches = matches and request.method.startswith(self.method)
        return matches and next(self._matching) % self.every == 0

    def answer(self, request: Seen) -> bytes:
        status, shown = self.act(request)
        return reply(status, shown, closing=self.closing)

    def act(self, request: Seen) -> tuple[int, Any]:
        """Do what is asked; the status and the JSON to answer."""
        parts = urlsplit(request.path)
        if "/auth/" in request.path:
            return 200, {"access_token": "a", "refresh_token": "r", "expires_in": self.lifetime}
        if parts.path == "/api/v1/users/me":
            return 200, {"email": EMAIL}
        if parts.path.startswith("/api/v1/exports"):
            state = "queued" if self.lazy else "done"
            return 202 if request.method == "POST" else 200, {"id": str(len(self.seen)), "state": state}
        if request.method == "POST":
            return 201, self._create(request)
        if parts.path == "/api/v1/items":
            return 200, self._page(parse_qs(parts.query))
        item_id = parts.path.rsplit("/", 1)[1]
        return 200, next(item for item in self.items if item["id"] == item_id)

    def _create(self, request: Seen) -> dict[str, str]:
        key = request.headers["idempotency-key"]
        if key not in self.remembered:
            self.remembered[key] = {"id": str(len(self.items)), **orjson.loads(request.body)}
            self.items.append(self.remembered[key])
        return self.remembered[key]

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        start, per_page = int(query.get("cursor", ["0"])[0]), int(query["per_page"][0])
        end = start + per_page
        following = str(end) if end < len(self.items) else None
        return {"items": self.items[start:end], "per_page": per_page, "next_cursor": following}


async def _read(reader: asyncio.StreamReader, connection: int) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Seen(asyncio.get_running_loop().time(), connection, method, path, headers, body)


def reply(status: int, shown: Any, *, closing: bool = False) -> bytes:
    body = orjson.dumps(shown)
    connection = "close" if closing else "keep-alive"
    return f"HTTP/1.1 {status} -\r\nConnection: {connection}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def answers(status: int) -> Fault:
    async def fault(_: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(status, {"error": "on purpose"}))

    return fault


def answers_without(name: str) -> Fault:
    """The right status and all of the reply but this field, or this field of each item."""

    async def fault(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
        status, shown = slipway.act(request)
        items = [{key: item[key] for key in item if key != name} for item in shown.get("items", [])]
        shown = {key: items if key == "items" else value for key, value in shown.items() if key != name}
        writer.write(reply(status, shown))

    return fault


async def resets(_: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
    """RST after the request was read."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closes(_: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
    """FIN after the request was read."""
    writer.close()


async def acts_then_closes(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    """The work is done, the reply lost."""
    slipway.answer(request)
    writer.close()


async def answers_half(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(slipway.answer(request)[:-5])
    writer.close()


async def answers_garbage(_: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"this is no HTTP\r\n\r\n")


async def answers_no_json(_: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 -\r\nContent-Length: 6\r\n\r\n<html>")


async def stalls(slipway: FaultySlipway, __: Seen, writer: asyncio.StreamWriter) -> None:
    """No reply, for as long as there is somebody who might wait for one."""
    await slipway.ended.wait()
    writer.close()


async def answers_of_somebody_else(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(slipway.answer(request).replace(EMAIL.encode(), b"other@example.com").replace(b"Written", b"Twisted"))


async def forgets_the_write(_: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    """201 without having written: what a COMMIT that fails after the reply would do."""
    writer.write(reply(201, {"id": "forgotten", **orjson.loads(request.body)}))


async def writes_twice(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(slipway.answer(request))
    slipway.items.append({**slipway.items[-1], "id": f"second-{len(slipway.items)}"})


async def closes_after_its_reply(slipway: FaultySlipway, request: Seen, writer: asyncio.StreamWriter) -> None:
    """Without having said so: the connection was idle, and no request is lost."""
    # The end goes out with the reply: sent a moment later, it would meet a client that already asks again.
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    writer.write(slipway.answer(request))
    writer.write_eof()
    writer.close()
