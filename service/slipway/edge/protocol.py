"""uvicorn's HTTP/1.1 connection with bounds on what a client sends before a request exists.

uvicorn's parser holds as many headers as come, for as long as they take. Here, beyond `max_head_bytes` (bytes received
without getting further: request line and headers, trailers, chunk extensions, empty lines) the client is told 431 and
the connection ends; at most one read of the socket (256 KiB) is held besides. A head that fits in one read but not in
the limit is the guard's to refuse. A connection on which a head doesn't get complete within `HEAD_TIMEOUT` is closed
without a reply; so is one that sends nothing at first, or that goes on sending what was refused already.
A kept-alive connection without a byte is uvicorn's to close.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slipway.problems import (
    NO_SNIFFING,
    AppException,
    BadRequestError,
    HeadersTooLargeError,
    problem_body,
    problem_headers,
)

HEAD_TIMEOUT = 10.0
"""Seconds for a request's head to arrive. Looked at every half of it: a slow head is closed after 5 to 10."""
LINGER = 2.0
"""Seconds for which a refused client may read the reply before the connection is closed under it."""
LINGER_BYTES = 1024 * 1024
"""Bytes of a refused client that are thrown away meanwhile: closing with bytes unread would lose the reply."""

log = logging.getLogger("slipway.edge")


class BoundedProtocol(HttpToolsProtocol):
    """Costs a request three calls of a line each; a connection one timer."""

    max_head_bytes: ClassVar[int] = 32 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._standing = 0
        """Bytes received since the parser last got further than a header line."""
        self._refused = False
        self._thrown_away = 0
        self._was_waiting_after: object = self
        """The last request there was when the connection was last found waiting; `self` when it wasn't."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_TIMEOUT / 2, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abort()
            return
        self._standing += len(data)
        HttpToolsProtocol.data_received(self, data)
        if self._standing > self.max_head_bytes and not self._refused:
            self._refuse(HeadersTooLargeError())

    def on_message_begin(self) -> None:
        self._standing = 0
        HttpToolsProtocol.on_message_begin(self)

    def on_headers_complete(self) -> None:
        self._standing = 0
        HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        self._standing = 0
        HttpToolsProtocol.on_body(self, body)

    def send_400_response(self, msg: str) -> None:
        """Answer what isn't HTTP; the name is uvicorn's."""
        self._refuse(BadRequestError(msg))

    def _look(self) -> None:
        """Close a connection found waiting for the same head twice."""
        self._timer = None
        if self.transport.is_closing():
            return
        waiting = (self.cycle is None or self.cycle.response_complete) and self.timeout_keep_alive_task is None
        if waiting and self._was_waiting_after is self.cycle:
            self.transport.close()
            return
        self._was_waiting_after = self.cycle if waiting else self
        self._timer = self.loop.call_later(HEAD_TIMEOUT / 2, self._look)

    def _refuse(self, problem: AppException) -> None:
        """Tell the client, unless a reply is on its way already; then end the connection."""
        self._refused = True
        self._standing = 0
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        # A body that goes on after its reply, or a head that comes in the middle of one, has no place for another.
        replied = cycle is not None and cycle.response_started and (cycle.more_body or not cycle.response_complete)
        if replied or self.pipeline:
            self.transport.close()
            return
        request_id = uuid7().hex
        log.warning("A request was refused before it was one.", extra={"error": problem.code, "request_id": request_id})
        self.transport.write(_response(problem, request_id))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER, self.transport.close)


def bounded(max_head_bytes: int) -> type[BoundedProtocol]:
    """The protocol with its limit, for `uvicorn.Config(http=...)`."""
    return type("Protocol", (BoundedProtocol,), {"max_head_bytes": max_head_bytes})


def _response(problem: AppException, request_id: str) -> bytes:
    body = problem_body(problem, request_id)
    lines = [f"HTTP/1.1 {int(problem.status)} {problem.status.phrase}".encode()]
    headers = [
        *problem_headers(problem, body),
        NO_SNIFFING,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", body])
