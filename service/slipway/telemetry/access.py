"""The line that each request leaves in the log, made without a log record: that would cost more than the line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from slipway.telemetry.logs import LineWriter, as_line

_SERVER_ERROR = 500


class Finished(Protocol):
    """What the line tells of a request; ids are None where there are none, `status` is 0 when no reply started."""

    request_id: str
    user_id: str | None
    trace_id: str | None
    span_id: str | None
    method: str
    path: str
    route: str | None
    status: int
    bytes_sent: int
    started: float


class AccessLog:
    """Writes access lines: INFO, within LineWriter's delay, and ERROR for 5xx, at once."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines

    def write(self, request: Finished) -> None:
        failed = request.status >= _SERVER_ERROR or request.status == 0
        if (logging.ERROR if failed else logging.INFO) < self._lines.threshold:
            return
        line = as_line(
            {
                "timestamp": datetime.now(UTC),
                "level": "ERROR" if failed else "INFO",
                "logger": "slipway.access",
                "message": "request",
                "module": "access",
                "function": "write",
                "line": 0,
                "request_id": request.request_id,
                "user_id": request.user_id,
                "duration_ms": round((monotonic() - request.started) * 1000, 3),
                "trace_id": request.trace_id,
                "span_id": request.span_id,
                "exception": None,
                "method": request.method,
                "path": request.path,
                "route": request.route,
                "status": request.status,
                "bytes": request.bytes_sent,
            }
        )
        if failed:
            self._lines.write(line)
        else:
            self._lines.write_soon(line)
