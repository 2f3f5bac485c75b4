"""What is told of SQL statements: a span where the request is traced, in debug a line for each; never their values.

Where neither is wanted a statement costs one look at a variable.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from time import monotonic
from typing import Any

from asyncpg.connection import LoggedQuery
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from slipway.telemetry.spans import recording, start_span

LONGEST_STATEMENT = 2048

_TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?"?(\w+)"?', re.IGNORECASE)
_OPERATION = re.compile(r"\s*(\w+)")
_VALUE = re.compile(
    r"""
    (?P<kept> "(?:[^"]|"")*(?:"|\Z) | [^\W\d][\w$]*(?!') | \$\d+ )
  | (?:[eE]'(?:[^'\\]|''|\\.)* | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*)(?:'|\Z)
  | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
  | \d[\w.]* | --[^\n]* | /\*.*?(?:\*/|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
"""What is or may quote a value in a statement (strings, numbers, comments), and what looks like one and is kept."""

logger = logging.getLogger("slipway.sql")


@lru_cache(maxsize=256)
def statement_name(statement: str) -> str:
    """What a statement does in two words, e.g. `SELECT items`; one where it names no table."""
    operation = _OPERATION.match(statement)
    table = _TABLE.search(statement)
    name = operation[1].upper() if operation else "SQL"
    return f"{name} {table[1]}" if table else name


def without_values(statement: str) -> str:
    """The statement's beginning on one line, with `…` for each string, number and comment; `$1` is no value."""
    return " ".join(_VALUE.sub(lambda found: found["kept"] or "…", statement[:LONGEST_STATEMENT]).split())


def log_engine(engine: Engine) -> None:
    """Log what SQLAlchemy sends with prepared statements; the rest the driver is asked itself: `log_query`."""
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _logged)
    event.listen(engine, "handle_error", _logged_failure)


def log_query(query: LoggedQuery) -> None:
    """For `add_query_logger` of a connection: BEGIN, COMMIT, LISTEN, reads on the shortest way, many rows at once."""
    _log(query.query, query.elapsed, query.exception)


def _begin(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    if context is not None and not many:
        context.slipway_began = monotonic()


def _logged(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
    _log_once(context, statement, None)


def _logged_failure(failure: ExceptionContext) -> None:
    _log_once(failure.execution_context, failure.statement or "", failure.original_exception)


def _log_once(context: Any, statement: str, error: BaseException | None) -> None:
    began: float | None = getattr(context, "slipway_began", None)
    if began is not None:
        context.slipway_began = None
        _log(statement, monotonic() - began, error)


def _log(statement: str, seconds: float, error: BaseException | None) -> None:
    failed = {} if error is None else {"error": type(error).__name__}
    logger.info(
        statement_name(statement),
        extra={"statement": without_values(statement), "duration_ms": round(seconds * 1000, 3), **failed},
    )


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
