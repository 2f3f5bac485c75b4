"""One JSON object a line, for every logger of the process, with the resource that it is about."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

LONGEST_MESSAGE = 8_192
LONGEST_EXCEPTION = 16_384

# kopf tells of every handler that it calls; what these handlers do is a wake, and its effect has a line of its own.
_TOO_CHATTY = dict.fromkeys(("kopf.objects", "asyncio", "aiohttp.access"), logging.WARNING)

_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


@contextmanager
def about(kind: str, namespace: str, name: str) -> Iterator[None]:
    """Lines written inside, also by tasks that start inside, carry this resource."""
    token = _about.set({"kind": kind, "namespace": namespace, "name": name})
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """timestamp, level, logger, message, resource {kind, namespace, name} or null, exception or null."""

    def format(self, record: logging.LogRecord) -> str:
        written = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "timestamp": written.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _start(record.getMessage(), LONGEST_MESSAGE),
            "resource": _about.get() or _kopfs(record),
            "exception": _exception(record),
        }
        return json.dumps(fields, ensure_ascii=False, default=str)


def _kopfs(record: logging.LogRecord) -> dict[str, str] | None:
    """What kopf says a line of its own is about."""
    reference = getattr(record, "k8s_ref", None)
    if not isinstance(reference, Mapping):
        return None
    return {name: str(reference.get(name) or "") for name in ("kind", "namespace", "name")}


def _exception(record: logging.LogRecord) -> str | None:
    if not record.exc_info or record.exc_info[0] is None:
        return record.exc_text
    text = "".join(traceback.format_exception(*record.exc_info))
    # The end holds what happened, so that is what stays.
    return text if len(text) <= LONGEST_EXCEPTION else "…" + text[-LONGEST_EXCEPTION:]


def _start(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send every logger's records of at least `level` to `stream` (standard output)."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    least = logging.getLevelNamesMapping()[level]
    root.setLevel(least)
    for name, its_least in _TOO_CHATTY.items():
        logging.getLogger(name).setLevel(max(its_least, least))
    logging.captureWarnings(capture=True)
