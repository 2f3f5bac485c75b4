"""One request and its reply: the state that every part of the edge shares, and its one pair of ASGI wrappers."""

from __future__ import annotations

import asyncio
from enum import Enum
from time import monotonic
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from slipway.context.deadline import set_deadline
from slipway.context.request import Origin, RequestContext
from slipway.edge.conditional import Headers, unless_known
from slipway.edge.drain import DrainState
from slipway.edge.json_depth import deeper_than, is_utf8
from slipway.edge.limiter import Decision
from slipway.edge.load import BODY_TIMEOUT, Load
from slipway.http.media_types import is_json
from slipway.http.problems import (
    NO_SNIFFING,
    AppException,
    BadRequestError,
    PayloadTooLargeError,
    problem_body,
    problem_headers,
)
from slipway.settings import Settings

_NOT_MODIFIED = 304
HEAD = "HEAD"
READS = frozenset(("GET", HEAD))
CLIENT_GONE = 499
"""What logs and metrics call a request whose client went away before a reply started."""

_DISCONNECT: Message = {"type": "http.disconnect"}


class Cancelled(Enum):
    """Why the edge cancelled a request."""

    DEADLINE = "deadline"
    SLOW_BODY = "slow body"
    CLIENT_GONE = "client gone"
    STOPPING = "stopping"


class Exchange(RequestContext):
    """The state of one request. `send` and `receive` are what the application gets."""

    __slots__ = (
        "_asked",
        "_body_size",
        "_chunks",
        "_receive",
        "_send",
        "_settings",
        "address",
        "body_read",
        "bytes_sent",
        "cancelled",
        "claims",
        "client",
        "complete",
        "deadline",
        "decision",
        "disconnected",
        "drain",
        "headers",
        "id_header",
        "inbox",
        "load",
        "method",
        "outward",
        "path",
        "peer",
        "rate_headers",
        "receiving",
        "refused",
        "route",
        "started",
        "status",
        "task",
        "watcher",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request_id: str,
        id_header: bytes,
        headers: dict[bytes, bytes],
        settings: Settings,
        drain: DrainState,
    ) -> None:
        # RequestContext's own constructor, written out: a call less for each request.
        self.request_id = request_id
        self.user_id = self.trace_state = self.span = None
        self.trace_flags = "00"
        self.id_header = id_header
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.peer: tuple[str, int] | None = scope.get("client")
        self.headers = headers
        """Request headers by lower-case name; the first one where a name repeats."""
        self.route: str | None = None
        self.claims: Any = None
        """What the access token says, once it was found valid; else None."""
        self.client = self.address = "a:unknown"
        """Who is counted for the request: a user or an address."""
        self.decision: Decision | None = None
        """What the rate limit said of that."""
        self.load: Load | None = None
        self.started = monotonic()
        self.deadline = self.started + settings.request_deadline
        self.status = 0
        self.bytes_sent = 0
        self.complete = False
        """Whether the reply's last byte was handed to the server."""
        self.refused = False
        """Whether the edge replied by itself while the application was still reading; the rest it says is dropped."""
        self.rate_headers: Headers | None = None
        self.body_read = b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0"
        """Whether nothing but a disconnect can still come from the client."""
        self.disconnected = False
        self.receiving = False
        self.inbox: asyncio.Queue[Message] | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.cancelled: Cancelled | None = None
        self.task = asyncio.current_task()
        self.drain = drain
        self._asked: Headers = scope["headers"]
        self._settings = settings
        self._receive = receive
        self._send = send
        self.outward: Send = send
        """Where the guard sends its own replies: through the layers around it, and then to `send`."""
        self._body_size = 0
        self._chunks: list[bytes] | None = None

    @property
    def origin(self) -> Origin:
        peer = self.peer[0] if self.peer else None
        return (
            Origin(None, None, peer)
            if self.claims is None
            else Origin(self.claims.user_id, self.claims.session_id, peer)
        )

    # What the application sends

    async def send(self, message: Message) -> None:
        if self.disconnected or self.refused:
            self.status = self.status or CLIENT_GONE
            return
        if message["type"] == "http.response.start":
            if b"if-none-match" in self.headers and self.method in READS:
                message = unless_known(message, self._asked)
            self.status = message["status"]
            headers: Headers = [*message.get("headers", ()), NO_SNIFFING, (b"x-request-id", self.id_header)]
            if self.rate_headers is not None:
                headers += self.rate_headers
            if self.drain.draining:
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            self.deadline = monotonic() + self._settings.stream_deadline
            set_deadline(self.deadline)
        elif message["type"] == "http.response.body":
            if self.left_out:
                if self.complete:
                    return
                # At once, however much would follow: the server then tells a stream that nobody listens.
                message = {"type": "http.response.body", "body": b""}
            self.bytes_sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)

    @property
    def left_out(self) -> bool:
        """Whether the reply that has started is one without its content."""
        return self.method == HEAD or self.status == _NOT_MODIFIED

    async def reply(self, problem: AppException) -> None:
        """Answer with a problem, through CORS and metrics; only where no reply has started."""
        send = self.outward
        body = problem_body(problem, self.request_id)
        await send(
            {"type": "http.response.start", "status": int(problem.status), "headers": problem_headers(problem, body)}
        )
        await send({"type": "http.response.body", "body": body})

    # What the client sends

    async def receive(self) -> Message:
        """The next message; answers and raises the problem of a body that may not be, or not now."""
        if self.inbox is not None:
            return _DISCONNECT if self.disconnected and self.inbox.empty() else await self.inbox.get()
        try:
            if self.body_read or self.status != 0 or self.load is None:
                message = await self._next()
            else:
                message = await self._next_of_body(self.load)
            if message["type"] == "http.disconnect":
                self.disconnected = True
            else:
                problem = self._body_problem(message.get("body", b""), more=message.get("more_body", False))
                if problem is not None:
                    raise problem
        except AppException as refusal:
            if self.status == 0:
                # FastAPI turns what is raised while it reads a body into a plain 400, so the reply goes out here.
                await self.reply(refusal)
                self.refused = True
            raise
        return message

    async def _next(self) -> Message:
        self.receiving = True
        try:
            return await self._receive()
        finally:
            self.receiving = False

    async def _next_of_body(self, load: Load) -> Message:
        """While a body is waited for, its own limits hold in place of the request's."""
        load.begin_waiting(self.client)
        whole, short = self.deadline, min(self.deadline, self.started + BODY_TIMEOUT)
        self.deadline = short
        try:
            message = await self._next()
        finally:
            load.end_waiting(self.client)
            if self.deadline == short:  # a reply that has started meanwhile has set another
                self.deadline = whole
        if not message.get("more_body", False):
            load.check()
        return message

    def _body_problem(self, chunk: bytes, *, more: bool) -> AppException | None:
        self.body_read = not more
        if not chunk and not self._chunks:
            return None
        self._body_size += len(chunk)
        if self._body_size > self._settings.max_body_bytes:
            return PayloadTooLargeError()
        if not is_json(self.headers.get(b"content-type", b"")):
            return None
        if more or self._chunks is not None:
            if self._chunks is None:
                self._chunks = []
            self._chunks.append(chunk)
            chunk = b"" if more else b"".join(self._chunks)
        if not is_utf8(chunk):
            return BadRequestError("JSON must be sent as UTF-8.")
        if deeper_than(chunk, self._settings.max_json_depth):
            return BadRequestError(f"The JSON nests deeper than {self._settings.max_json_depth} levels.")
        return None

    # What the sweeper does, and who ends the process

    def cancel(self, why: Cancelled) -> None:
        """Stop the handler; the guard turns that into a reply, or into nothing for a client that is gone."""
        if self.cancelled is None and not self.complete and self.task is not None:
            late = why is Cancelled.DEADLINE and self.receiving and not self.body_read
            self.cancelled = Cancelled.SLOW_BODY if late else why
            self.task.cancel()

    def let_go(self) -> None:
        """Called once all is sent: the server's side holds this by its scope, so all would wait for the collector."""
        del self.outward, self._send, self._receive

    def watch(self) -> asyncio.Task[None]:
        """Take over reading from the client, so that its going away is noticed while the handler works."""
        self.inbox = asyncio.Queue(2)
        self.watcher = asyncio.create_task(self._watch(self.inbox), name="slipway-watch-client")
        return self.watcher

    async def _watch(self, inbox: asyncio.Queue[Message]) -> None:
        # Nothing but empty pieces of a body can come before; they are kept for whoever asks for them.
        while (message := await self._receive())["type"] != "http.disconnect":
            await inbox.put(message)
        self.disconnected = True
        if not inbox.full():
            inbox.put_nowait(message)
        self.cancel(Cancelled.CLIENT_GONE)
