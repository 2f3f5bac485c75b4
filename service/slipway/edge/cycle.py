"""uvicorn's request and reply, with what RFC 9112 asks of replies to HTTP/1.0, and of those that come before a body."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from slipway.http.problems import NO_SNIFFING, AppException, problem_body, problem_headers


class Cycle(RequestResponseCycle):
    """The attributes below are set before it runs, where they differ.

    A reply that comes before the whole body ends the connection, unless the rest is small. The connection isn't closed
    with it then (`ends_connection`): bytes that the client is still sending would destroy the reply on its way.
    """

    old = False
    """HTTP/1.0: knows neither chunks, so that the connection's end is the reply's, nor 100."""
    small = True
    """Whether what is missing of the body may be read and dropped after the reply."""
    ends_connection = False
    """Whether the whole reply was sent, and nothing that still comes may be looked at."""

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override] # a coroutine, as there, but seldom a second
        if self.more_body or self.old:
            return self._send_specially(message)
        return super().send(message)

    async def send_500_response(self) -> None:
        """For what fails outside the edge; the name is uvicorn's."""
        request_id = uuid7().hex
        self.logger.error("The request failed outside the edge.", extra={"request_id": request_id})
        body = problem_body(AppException(), request_id)
        headers = [*problem_headers(AppException(), body), NO_SNIFFING, (b"x-request-id", request_id.encode())]
        start = {"type": "http.response.start", "status": 500, "headers": [*headers, (b"connection", b"close")]}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})

    async def _send_specially(self, message: Any) -> None:
        if not self.response_started:
            # Who wasn't told to go on may leave the body out: what comes next could be either (RFC 9110 10.1.1).
            if self.more_body and (self.waiting_for_100_continue or not self.small):
                self.keep_alive = False
            if self.old:
                self.chunked_encoding = False
        else:
            if self.old:
                self.expected_content_length = len(message.get("body", b""))
            if self.more_body and not self.keep_alive and not message.get("more_body", False):
                self.keep_alive = self.ends_connection = True
        await super().send(message)
