"""Who is in the way of a statement."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from time import monotonic

from sqlalchemy import text
from sqlalchemy.engine import Connection

from plain_database import BACKEND, BLOCKERS

TELL_AGAIN, SAMPLE_INTERVAL = 30.0, 0.25  # seconds


class Watch(threading.Thread):
    """Looks from a second session who blocks the first, as afterwards nobody knows. Costs nothing where it can't."""

    def __init__(self, connection: Connection, tell: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._engine, self._pid, self._tell = connection.engine, connection.scalar(text(BACKEND)), tell
        self.last, self.over = "a session that is gone by now", threading.Event()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(Exception):
            if self._engine.dialect.is_async:
                asyncio.run(self._run_async())
            else:
                with self._engine.connect() as connection:
                    self._look(connection)

    async def _run_async(self) -> None:
        from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - it needs greenlet, which an image may lack

        async with AsyncEngine(self._engine).connect() as connection:
            await connection.run_sync(self._look)

    def _look(self, connection: Connection) -> None:
        connection.detach()
        told = monotonic()
        while not self.over.wait(SAMPLE_INTERVAL):
            rows = connection.execute(text(BLOCKERS), {"pid": self._pid}).all()
            connection.rollback()  # within one transaction the view stays as it was
            if rows:
                self.last = ", ".join("pid {} (user {}, {}, for {} s)".format(*row) for row in rows)
            if rows and monotonic() - told > TELL_AGAIN:
                self._tell(self.last)
            told = told if rows and monotonic() - told <= TELL_AGAIN else monotonic()
