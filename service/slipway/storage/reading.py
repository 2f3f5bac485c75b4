"""The session that reads are given: it refuses what writes, which would leave no row in the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import TextClause, event
from sqlalchemy.orm import ORMExecuteState, Session

REFUSED = "What writes is a unit of work: here it would leave no row in the audit log."


class ReadingSession(Session):
    """Raises TypeError where Core or the models write; what a `text()` or a CTE does nobody sees."""


@event.listens_for(ReadingSession, "do_orm_execute")
def _statement(state: ORMExecuteState) -> None:
    if not state.is_select and not isinstance(state.statement, TextClause):
        raise TypeError(REFUSED)


@event.listens_for(ReadingSession, "before_flush")
def _flush(*_: Any) -> None:
    raise TypeError(REFUSED)
