"""Whom the work at hand is done for: what each log line, span and metric of a request (or a job) has in common."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID

from opentelemetry.trace import Span


class Origin(NamedTuple):
    """Whom work is done for: their id and session as a valid token names them, and the peer's address."""

    actor: UUID | None = None
    session: UUID | None = None
    peer: str | None = None


class RequestContext:
    """Ids of one request or job. `span` is None while its trace isn't recorded; the ids are there all the same."""

    __slots__ = ("request_id", "span", "span_id", "trace_flags", "trace_id", "trace_state", "user_id")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.user_id: str | None = None
        self.trace_id: str | None = None
        self.span_id: str | None = None
        self.trace_flags = "00"
        self.trace_state: str | None = None
        self.span: Span | None = None

    @property
    def origin(self) -> Origin:
        """A job has none: it is nobody's any more."""
        return Origin()


current: ContextVar[RequestContext | None] = ContextVar("slipway_request", default=None)
