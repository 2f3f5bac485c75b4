"""uvicorn's HTTP/1.1 connection, strict about where requests begin and end, and with bounds on what is held of them.

Framing: a head is judged before anything of its request runs (framing.py). An Upgrade is ignored, as RFC 9110 7.8 has
it for protocols that aren't spoken here: the body stays the body. Trailers are dropped. What can't be read is told
once, after the replies to what was read before it, and nothing that follows is looked at.

Bounds: uvicorn's parser holds as many headers as come, for as long as they take. Here, beyond `max_head_bytes` (bytes
received without getting further: request line and headers, trailers, chunk extensions, empty lines) the client is told
431 and the connection ends; at most one read of the socket (256 KiB) is held besides. A head that fits in one read but
not in the limit is the guard's to refuse. A connection on which a head doesn't get complete within `HEAD_TIMEOUT` is
closed without a reply; so is one that sends nothing at first, or that goes on sending what was refused already.
A kept-alive connection without a byte is uvicorn's to close.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slipway.edge.cycle import Cycle
from slipway.edge.framing import NAMES, check_head, split_target
from slipway.http.problems import (
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
SMALL_BODY = 64 * 1024
"""Bytes of a body that are read to their end when its reply came first; a larger one ends the connection."""
MOST_PIPELINED = 64
"""Requests of a connection that wait for the replies before theirs."""

log = logging.getLogger("slipway.edge")


class BoundedProtocol(HttpToolsProtocol):
    """Costs a connection one timer."""

    max_head_bytes: ClassVar[int] = 32 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._framing: list[tuple[bytes, bytes]] = []
        """The headers of the head at hand that framing.py looks at."""
        self._in_body = False
        """Whether the newest request's head is complete and its body isn't."""
        self._running: Cycle | None = None
        """The newest request that was begun; others wait in `pipeline`."""
        self._standing = 0
        """Bytes received since the parser last got further than a header line."""
        self._deaf = False
        """Whether nothing that still comes is looked at."""
        self._refusal: AppException | None = None
        """What the client is told once the requests before have their replies."""
        self._thrown_away = 0
        self._was_waiting_after: object = self
        """The last request there was when the connection was last found waiting; `self` when it wasn't."""
        self._timer: asyncio.TimerHandle | None = None

    # What the server calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_TIMEOUT / 2, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running = self._running
        if running is not None and not running.response_complete:
            # uvicorn tells the newest request only, and that one may wait for this one's reply.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._standing += len(data)
        try:
            self._parse(data)
        except HttpParserError as error:
            fault = error.__context__
            self._refuse(fault if isinstance(fault, AppException) else BadRequestError(f"This isn't HTTP: {error}."))
        else:
            if self._standing > self.max_head_bytes:
                self._refuse(HeadersTooLargeError())

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except HttpParserUpgrade as upgrade:
                # The parser takes all that follows for another protocol. A new one reads the same head without the
                # wish, and then the rest as what it is.
                rest = rest[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # What the parser calls

    def on_message_begin(self) -> None:
        self._standing = 0
        self._framing = []
        HttpToolsProtocol.on_message_begin(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.rstrip(b" \t")
        if self._in_body:
            # A trailer. Nobody here asks for one, and one that was merged could pass for a header (RFC 9110 6.5.1).
            if name == b"connection":
                raise BadRequestError("Connection may not be a trailer.")
            return
        if name in NAMES:
            self._framing.append((name, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._standing = 0
        parser = self.parser
        method, version = parser.get_method(), parser.get_http_version()
        check_head(method, version, self._framing)
        if parser.should_upgrade():
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            raise BadRequestError("Too many requests wait for their replies on this connection.")
        self._complete_scope(method, version)
        self._in_body = True
        self._begin(old=version == "1.0")

    def on_body(self, body: bytes) -> None:
        self._standing = 0
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        if not self._in_body:  # a head with an Upgrade: it is read again
            return
        self._in_body = False
        cycle = self.cycle
        cycle.more_body = False
        if not cycle.response_complete:
            cycle.message_event.set()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _complete_scope(self, method: bytes, version: str) -> None:
        authority, target = split_target(method, self.url)
        if authority is not None:
            self.headers[:] = [(name, authority if name == b"host" else value) for name, value in self.headers]
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        scope: dict[str, Any] = self.scope  # type: ignore[assignment] # uvicorn's type for it wants all of it at once
        scope["http_version"] = version
        scope["method"] = method.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query

    def _begin(self, *, old: bool) -> None:
        self._unset_keepalive_if_required()
        framing = dict(self._framing)
        before = self.cycle
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=not old and b"expect" in framing,
            keep_alive=not old and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.old = old
        cycle.small = b"transfer-encoding" not in framing and int(framing.get(b"content-length", 0)) <= SMALL_BODY
        self.cycle = cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # How a connection ends

    def on_response_complete(self) -> None:
        super().on_response_complete()
        running = self._running
        if running is None or self.transport.is_closing():
            return
        if running.ends_connection:
            self._linger()
        elif self._refusal is not None and running.response_complete:
            self._tell(self._refusal)

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
        """Read no further; tell the client in its turn, unless a reply to this very request is on its way already."""
        self._deaf = True
        self._standing = 0
        if self.transport.is_closing():
            return
        unfinished = self.cycle if self._in_body else None
        if unfinished is not None:
            if unfinished.response_complete:
                self._linger()
                return
            if unfinished.response_started:
                self.transport.close()
                return
            unfinished.disconnected = True
            unfinished.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
        running = self._running
        if running is None or running is unfinished or running.response_complete:
            self._tell(problem)
        else:
            self._refusal = problem

    def _tell(self, problem: AppException) -> None:
        request_id = uuid7().hex
        log.warning("A request was refused before it was one.", extra={"error": problem.code, "request_id": request_id})
        without_body = bool(self.url) and self.parser.get_method() == b"HEAD"
        head, body = _reply(problem, request_id, self.server_state.default_headers)
        self.transport.write(head if without_body else head + body)
        self._linger()

    def _linger(self) -> None:
        """End the connection, but leave the client time to read the reply."""
        self._deaf = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER, self.transport.close)


def bounded(max_head_bytes: int) -> type[BoundedProtocol]:
    """The protocol with its limit, for `uvicorn.Config(http=...)`."""
    return type("Protocol", (BoundedProtocol,), {"max_head_bytes": max_head_bytes})


def _reply(problem: AppException, request_id: str, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    body = problem_body(problem, request_id)
    lines = [f"HTTP/1.1 {int(problem.status)} {problem.status.phrase}".encode()]
    headers = [*fields, *problem_headers(problem, body), NO_SNIFFING]
    headers += [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", b""]), body
