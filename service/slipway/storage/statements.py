"""Statements of SQLAlchemy's Core as the driver takes them: made once, at import, and run without SQLAlchemy.

Building and compiling one costs more than PostgreSQL needs to run it, so those of writes are constants with
`bindparam`s. Lists are bound as arrays (`= ANY(:ids)`), because a text must not depend on how long they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import Executable

from slipway.telemetry.sql import statement_name

_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]


class Row(asyncpg.Record):  # type: ignore[misc]
    """A row whose columns are attributes too, as models and schemas know them."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def one(row: Row | None) -> Row:
    """The row of a statement that always has one."""
    if row is None:
        raise LookupError("A statement that always has a row had none.")
    return row


class Statement:
    """`text` with `$1 …`, and the order of the values for it; `attributes` are those of its span.

    `writes` is whether Core sees that it does, in a CTE too; what a `text()` does nobody sees.
    """

    __slots__ = ("_fixed", "_names", "_processors", "attributes", "clause", "name", "text", "writes")

    def __init__(self, clause: Executable) -> None:
        self.clause = clause
        compiled: Any = clause.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        if compiled.insert_prefetch or compiled.update_prefetch or compiled.post_compile_params:
            raise TypeError("Name every value with a bindparam: defaults of models and lists are not filled in here.")
        self.text: str = str(compiled)
        self.writes = any(getattr(each, "is_dml", False) for each in visitors.iterate(clause))  # type: ignore[arg-type]
        self.name = statement_name(self.text)
        self.attributes = {"db.system.name": "postgresql", "db.query.text": self.text}
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._processors: tuple[Callable[[Any], Any] | None, ...] = tuple(
            compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for name in self._names
        )

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the statement's order. Raises KeyError for one that is missing."""
        known = {**self._fixed, **values} if self._fixed else values
        return [
            known[name] if process is None else process(known[name])
            for name, process in zip(self._names, self._processors, strict=True)
        ]
