"""Which errors mean that the database is away, and how long to wait before asking again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

DATABASE_AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""TimeoutError too: a stalled server answers nothing at all."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries while the database is away."""


def pauses() -> Iterator[float]:
    """Seconds between tries, without end: doubling from the first to the longest, each with jitter down to its half."""
    delay = FIRST_PAUSE
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        delay = min(LONGEST_PAUSE, delay * 2)
