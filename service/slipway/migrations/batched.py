"""Backfills: a change of many rows in small transactions, while the table is in use, that can be killed at any time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from alembic import op
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from slipway.migrations.errors import MigrationError, sqlstate_of
from slipway.migrations.locks import ATTEMPTS, LOCK_STATES, pause_before
from slipway.migrations.progress import Progress, Rhythm, Working

MOST_ROWS = 10_000
"""Largest batch that may be asked for."""

AIM = 0.1
"""A batch should take about this long, seconds: so long may a row that the service wants be locked."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 5.0
LOCK_TIMEOUT = "1s"


def batched(
    statement: str, *, batch: int = 1000, after: int | None = None, share: float = 0.5, **parameters: object
) -> int:
    """Run `statement` again and again, each time committed, until it changes no row; returns the rows changed.

    It must pick at most `:batch` rows that are still to be done and leave none of them so, or it would never end.
    It mustn't skip locked rows, or it would end too early; it waits for them a second, and comes again.

        batched("UPDATE items SET title = name WHERE id IN ("
                "SELECT id FROM items WHERE title IS NULL LIMIT :batch FOR UPDATE)")

    For a large table give `after`, a number below the first key: the statement takes up behind `:after`, ORDER BY the
    key, and ends with RETURNING the key; it then isn't read from its start for each batch. Walks are repeated until
    one changes nothing, so that rows that came meanwhile are done too.

    `batch` is the most rows at once (1 to 10,000); fewer are taken when a batch takes longer than 0.1 s. `share` is
    the part of the time (above 0, at most 1) in which the database works for this. `parameters` are the statement's
    others. What the revision did before is committed first: put a backfill into a revision of its own. It goes on
    where it was after a kill or the end of the budget, as nothing but the rows says what is done. Raises DBAPIError
    when the statement fails, also after too many tries for a row's lock; ValueError for what can't work.
    """
    if not 1 <= batch <= MOST_ROWS:
        raise ValueError(f"A batch is 1 to {MOST_ROWS} rows, not {batch}.")
    if not 0 < share <= 1:
        raise ValueError(f"A share is above 0 and at most 1, not {share}.")
    values = parameters if after is None else {**parameters, "after": after}
    context = op.get_context()
    if context.as_sql:
        with context.autocommit_block():
            op.execute(text(statement).bindparams(batch=batch, **values))
        return 0
    environment = context.environment_context
    progress = environment.config.attributes.get("progress") if environment and environment.config else None
    with _small_transactions() as connection:
        return _Backfill(connection, statement, batch, share, progress).run(values)


@contextmanager
def _small_transactions() -> Iterator[Connection]:
    """Autocommit, and no long wait for a row's lock: who waits holds the rows that it has already."""
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            yield op.get_bind()
        finally:
            op.execute("RESET lock_timeout")


class _Backfill:
    """One run: how large batches are now, and how many rows were changed."""

    def __init__(
        self, connection: Connection, statement: str, most: int, share: float, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._statement = text(statement)
        self._most = self._size = most
        self._share = share
        self._progress = progress
        self._rhythm = Rhythm()
        self._rows = 0

    def run(self, parameters: dict[str, Any]) -> int:
        while self._walk(dict(parameters)) and "after" in parameters:
            pass
        return self._rows

    def _walk(self, parameters: dict[str, Any]) -> bool:
        """Batch by batch until one changes nothing; whether any did."""
        before = self._rows
        while True:
            started = monotonic()
            changed, last = self._change({**parameters, "batch": self._size})
            took = monotonic() - started
            if not changed:
                return self._rows > before
            self._rows += changed
            if "after" in parameters:
                parameters["after"] = last
            self._tell()
            self._adapt(took)
            self._sleep(min(LONGEST_PAUSE, max(SHORTEST_PAUSE, took * (1 / self._share - 1))))

    def _change(self, parameters: dict[str, Any]) -> tuple[int, Any]:
        """One batch, tried again while a row of it is locked: rows changed, and the greatest key it returned."""
        attempt = 0
        while True:
            attempt += 1
            try:
                result = self._connection.execute(self._statement, parameters)
                keys = result.scalars().all() if result.returns_rows else ()
            except DBAPIError as error:
                if sqlstate_of(error) not in LOCK_STATES or attempt == ATTEMPTS:
                    raise
                self._sleep(pause_before(attempt + 1))
            else:
                if "after" in parameters and not result.returns_rows:
                    raise MigrationError("A backfill with `after` must end with RETURNING its key.")
                return len(keys) or max(0, result.rowcount), max(keys, default=None)

    def _adapt(self, took: float) -> None:
        """Halve a batch that takes too long, let one that is quick grow again."""
        if took > AIM:
            self._size = max(1, self._size // 2)
        elif took < AIM / 2:
            self._size = min(self._most, self._size + max(1, self._size // 4))

    def _tell(self) -> None:
        if self._progress is not None and self._rhythm.is_due():
            self._progress.listen(Working(f"The backfill has changed {self._rows} rows so far."))

    def _sleep(self, seconds: float) -> None:
        """With jitter. The event loop goes on: SIGTERM, the budget and the look for blockers are its business."""
        seconds *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        driver: Any = self._connection.connection.dbapi_connection
        driver.run_async(lambda _: asyncio.sleep(seconds))
