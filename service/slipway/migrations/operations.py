"""Operations for revisions that can't run in a transaction, made so that a revision that failed half-way runs again.

A concurrent build that fails leaves an index that is invalid: it serves no query, costs every write, and
`IF NOT EXISTS` would take it for the one that is wanted. So an invalid namesake is dropped first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import op
from sqlalchemy import text
from sqlalchemy.sql.elements import ColumnElement, TextClause

from slipway.migrations.errors import MigrationError

_NAMESAKE = """
    SELECT i.indisvalid AS valid, i.indisunique AS is_unique, i.indrelid = to_regclass(:table_name) AS same_table
    FROM pg_index i WHERE i.indexrelid = to_regclass(:index_name)
"""


def create_index_concurrently(
    name: str,
    table: str,
    columns: Sequence[str | TextClause | ColumnElement[Any]],
    *,
    unique: bool = False,
    **options: Any,
) -> None:
    """Build an index while the table serves reads and writes; `options` as for `op.create_index`.

    What the revision did before is committed first: put it into a revision of its own. An invalid index of that name
    is dropped, a valid one on the same table is kept. Raises MigrationError when the name belongs to another index.
    """
    with _outside_transactions():
        if not op.get_context().as_sql:
            drop_invalid_namesake(name, table, unique=unique)
        op.create_index(
            name, table, list(columns), unique=unique, if_not_exists=True, postgresql_concurrently=True, **options
        )


def drop_index_concurrently(name: str, table: str | None = None) -> None:
    """Drop an index while its table serves reads and writes; one that is gone already is fine."""
    with _outside_transactions():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def drop_invalid_namesake(name: str, table: str, *, unique: bool) -> None:
    """Drop what a build that failed left behind. Raises MigrationError when a valid index is not the one wanted."""
    quote = op.get_bind().dialect.identifier_preparer.quote
    found = (
        op.get_bind().execute(text(_NAMESAKE), {"index_name": quote(name), "table_name": quote(table)}).one_or_none()
    )
    if found is None:
        return
    if not found.same_table or (found.valid and found.is_unique != unique):
        raise MigrationError(f"There is another index named {name}: rename or drop it, then run the upgrade again.")
    if not found.valid:
        op.drop_index(name, table, postgresql_concurrently=True)


@contextmanager
def _outside_transactions() -> Iterator[None]:
    """Autocommit, and no limit but the budget: a concurrent build waits for old transactions and blocks nobody."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            op.execute("RESET lock_timeout")
            op.execute("RESET statement_timeout")
