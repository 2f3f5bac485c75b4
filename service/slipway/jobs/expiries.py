"""How a table says what of it expires, and the statement that deletes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slipway.settings import Settings


@dataclass(frozen=True, slots=True)
class Below:
    """Rows of `table` that go with a row of another, to whose id `key` refers."""

    table: str
    key: str
    batch: int = 1000
    """Rows deleted in one transaction."""

    def delete(self) -> str:
        """The part of the statement. An array, because a join with the doomed might read the whole table."""
        return (
            f"DELETE FROM {self.table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {self.table} "  # noqa: S608 - ours
            f"WHERE {self.key} = ANY(ARRAY(SELECT id FROM doomed)) LIMIT :batch_below)) RETURNING 1"
        )


@dataclass(frozen=True, slots=True)
class Expiry:
    """Rows of `table` have expired when `expired` is true; `oldest` is the column that an index finds them by.

    What is `below` goes before them: by foreign key it would go along without a bound. `lifetime` gives the seconds
    that the condition calls `:lifetime`.
    """

    table: str
    oldest: str
    expired: str
    batch: int = 1000
    """Rows deleted in one transaction."""
    below: Below | None = None
    lifetime: Callable[[Any], int] | None = None
    function: str | None = None
    """The owner's, that deletes in the service's place: of rows that the service itself may not delete."""

    def delete(self) -> str:
        """The statement that deletes a batch but for rows that others hold, and gives their number and that of `below`.

        In order of age: without it a long backlog would be looked for from the table's beginning each time, past all
        rows that are deleted already.
        """
        if self.function is not None:
            return f"SELECT {self.function}, 0"
        doomed = (
            f"SELECT ctid AS at{', id' if self.below else ''} FROM {self.table} WHERE {self.expired} "  # noqa: S608 - our own names
            f"ORDER BY {self.table}.{self.oldest} LIMIT :batch FOR UPDATE SKIP LOCKED"
        )
        gone = f"DELETE FROM {self.table} WHERE ctid = ANY(ARRAY(SELECT at FROM doomed))"  # noqa: S608 - our own names
        below = "SELECT WHERE false"
        if self.below is not None:
            below = self.below.delete()
            gone += " AND (SELECT count(*) FROM below) < :batch_below"
        return (
            f"WITH doomed AS MATERIALIZED ({doomed}), below AS ({below}), gone AS ({gone} RETURNING 1) "  # noqa: S608 - ours
            "SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM below)"
        )

    def parameters(self, settings: Settings) -> dict[str, int]:
        """What the statement is run with."""
        below = {} if self.below is None else {"batch_below": self.below.batch}
        lifetime = {} if self.lifetime is None else {"lifetime": self.lifetime(settings)}
        return {"batch": self.batch, **below, **lifetime}

    def is_full(self, gone: int, gone_below: int) -> bool:
        """Whether a batch of so many rows was a whole one: more may be there."""
        return gone == self.batch or (self.below is not None and gone_below == self.below.batch)
