"""Client connections of the load generator, new and kept-alive, that know what became of a request."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from dataclasses import dataclass

import httptools


@dataclass(slots=True)
class Reply:
    status: int = 0
    body: bytes = b""
    keep: bool = False
    """Whether the connection may carry another request."""


class UnansweredError(Exception):
    """No whole reply came: the connection couldn't be made, or was lost."""


class WrongReplyError(Exception):
    """A reply came, and it isn't what it has to be."""


class Connection(asyncio.Protocol):
    """One client connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._reply = Reply()
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def usable(self) -> bool:
        """Whether nothing came on the idle connection: neither its end nor bytes that nobody asked for."""
        if self._closed or self._transport is None or self._transport.is_closing():
            return False
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
        return not look.poll(0)

    async def exchange(self, request: bytes) -> Reply:
        """Write the request and wait for its reply. Raises UnansweredError or WrongReplyError."""
        if self._transport is None or self._closed:
            raise UnansweredError("closed before the request")
        self._reply, self._parser = Reply(), httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None or self._answer.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(WrongReplyError(f"no HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        self._reply.body += body

    def on_message_complete(self) -> None:
        assert self._parser is not None  # noqa: S101 - it is the one that calls
        self._reply.status = self._parser.get_status_code()
        self._reply.keep = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._end(UnansweredError(f"connection lost: {exc}" if exc else "connection closed without a whole reply"))

    def _end(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Pool:
    """Kept-alive connections, taken in turn; `size` of them are open, more only while all are busy."""

    def __init__(self, address: tuple[str, int], size: int) -> None:
        self._address = address
        self._size = size
        self._idle: deque[Connection] = deque()
        self._busy = 0
        self.opened = self.reused = self.found_closed = 0

    async def open(self) -> Connection:
        """A new connection. Raises UnansweredError."""
        self.opened += 1
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, *self._address)
        except OSError as error:
            raise UnansweredError(f"no connection: {error.strerror or error}") from None
        return connection

    def take(self) -> Connection | None:
        """The longest idle connection; None when it is time for another one."""
        for _ in range(len(self._idle)):
            if self._idle[0].usable():
                break
            self.found_closed += 1
            self._idle.popleft().close()
        self._busy += 1
        if not self._idle or len(self._idle) + self._busy <= self._size:
            return None
        self.reused += 1
        return self._idle.popleft()

    def give_back(self, connection: Connection | None, *, keep: bool) -> None:
        self._busy -= 1
        if connection is None:
            return
        if keep and len(self._idle) + self._busy < self._size:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.popleft().close()
