"""A span for each SQL statement of a request that is traced; statements of all others cost one look at a variable."""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from slipway.telemetry.spans import recording, start_span

LONGEST_STATEMENT = 2048

_TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?"?(\w+)"?', re.IGNORECASE)
_OPERATION = re.compile(r"\s*(\w+)")


def statement_name(statement: str) -> str:
    """What a statement does in two words, e.g. `SELECT items`; one where it names no table."""
    operation = _OPERATION.match(statement)
    table = _TABLE.search(statement)
    name = operation[1].upper() if operation else "SQL"
    return f"{name} {table[1]}" if table else name


def instrument_engine(engine: Engine) -> None:
    """Record this engine's statements (of an AsyncEngine give `sync_engine`); their text only, never values."""
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _failed)


def _before(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    if context is None or not recording():
        return
    context.slipway_span = start_span(
        statement_name(statement),
        kind=SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.query.text": statement[:LONGEST_STATEMENT]},
    )


def _after(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    span = _take(context)
    if span is not None:
        span.end()


def _failed(failure: ExceptionContext) -> None:
    span = _take(failure.execution_context)
    if span is None:
        return
    original = failure.original_exception
    span.set_attribute("error.type", type(original).__qualname__)
    span.set_status(StatusCode.ERROR)
    span.end()


def _take(context: Any) -> Span | None:
    """The span that was begun for this statement, once."""
    span: Span | None = getattr(context, "slipway_span", None)
    if span is not None:
        context.slipway_span = None
    return span
