"""Which errors mean that the database is away, and how long to wait before asking again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

DATABASE_AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""TimeoutError too: a stalled server answers nothing at all."""

_FIRST, _LONGEST = 0.2, 5.0


def pauses() -> Iterator[float]:
    """Seconds between tries, without end: doubling from 0.2 to 5, each with jitter down to its half."""
    delay = _FIRST
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        delay = min(_LONGEST, delay * 2)
