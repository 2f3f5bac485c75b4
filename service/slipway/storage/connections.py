"""The pool of a process's connections: how many, for how long, and which of them may be handed out again.

Who speaks to the driver itself takes them by `take()` and `give_back()`; sessions have the engine. SQLAlchemy's own
check-out takes a greenlet and its check-in looks at all that may have been begun, which together cost nearly what the
driver needs for a row. So what comes back here stays checked out of the pool and lies ready for the next who takes
one. It goes to the pool where somebody wants one of there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from time import monotonic
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, EmulatedDBAPIException
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import greenlet_spawn

from slipway.settings import Settings

IDLE_OVERFLOW = 30.0
"""Seconds after which an idle connection beyond `database_pool_size` is closed."""


class Connections:
    """`connect` makes one of asyncpg's; `login_of` tells which login it was made for, `current` which one counts now.

    A connection whose login isn't the current one is closed when it comes back, and never handed out.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[], Awaitable[Any]],
        *,
        login_of: Callable[[Any], object],
        current: Callable[[], object],
    ) -> None:
        self._size = settings.database_pool_size
        self._recycle = settings.database_pool_recycle
        self._login_of = login_of
        self._current = current
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            # SQLAlchemy closes an overflow connection as soon as it comes back, and under load the next request
            # pays for a new one (4 ms). So all are kept, and `_trim` closes those that stay idle.
            pool_size=settings.database_pool_size + settings.database_max_overflow,
            max_overflow=0,
            pool_timeout=settings.database_pool_timeout,
            pool_use_lifo=True,
            hide_parameters=True,  # exceptions are logged; rows aren't
        )
        self._pool: Any = self.engine.sync_engine.pool
        event.listen(self.engine.sync_engine, "connect", self._stamp)
        event.listen(self.engine.sync_engine, "checkout", self._refuse_unfit)
        event.listen(self.engine.sync_engine, "checkin", self._close_outdated)
        event.listen(self.engine.sync_engine, "close", self._forget_idle)
        self._idle: dict[ConnectionPoolEntry, float] = {}
        self._ready: dict[Any, float] = {}
        """What lies ready here, the latest last; like `_idle`, by since when."""
        self._wanting = 0
        """How many want one of the pool: sessions, and who found none here."""
        self._trimming: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> int:
        """Connections that are open and not in use."""
        return len(self._idle) + len(self._ready)

    @property
    def in_use(self) -> int:
        return int(self._pool.checkedout()) - len(self._ready)

    async def take(self) -> Any:
        """A connection of the pool, for `give_back` or `end`. Where none can be made, this raises the driver's error.

        Raises SQLAlchemy's TimeoutError when there is none within `database_pool_timeout`.
        """
        while self._ready:
            pooled, _ = self._ready.popitem()
            if self._is_fit(pooled.driver_connection, pooled.info):
                return pooled
            drop(pooled)
        self._wanting += 1
        try:
            return await self.engine.raw_connection()
        except EmulatedDBAPIException as error:
            # Elsewhere SQLAlchemy makes one of its own of it.
            raise error.driver_exception from None
        finally:
            self._wanting -= 1

    def give_back(self, pooled: Any) -> None:
        """One that is in no transaction, or that was invalidated."""
        if self._wanting or not pooled.is_valid or not self._is_fit(pooled.driver_connection, pooled.info):
            pooled.close()
            return
        self._ready[pooled] = monotonic()
        self._trim_later()

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """While somebody uses the engine itself: one more is in the pool for them, and what comes back goes there."""
        if self._ready:
            pooled, _ = self._ready.popitem()
            pooled.close()
        self._wanting += 1
        try:
            yield
        finally:
            self._wanting -= 1

    def close_idle(self) -> None:
        """Close what isn't in use. Nothing here awaits, so no connection changes hands meanwhile."""
        # Not by AsyncEngine.dispose(): while that waits, connections are made in the pool it is about to abandon,
        # and stay there, unused and open.
        for record in tuple(self._idle):
            record.invalidate()
        while self._ready:
            drop(self._ready.popitem()[0])

    async def close(self) -> None:
        if self._trimming is not None:
            self._trimming.cancel()
        while self._ready:
            self._ready.popitem()[0].close()
        await self.engine.dispose()

    def _is_fit(self, driver: Any, info: dict[str, Any]) -> bool:
        """Not one whose socket the server closed, of an old login, or that is due to be replaced."""
        return (
            not driver.is_closed() and info["login"] is self._current() and monotonic() - info["made"] < self._recycle
        )

    def _stamp(self, dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info.update(login=self._login_of(dbapi_connection.driver_connection), made=monotonic())

    def _refuse_unfit(self, dbapi_connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """It is replaced before it is handed out."""
        self._idle.pop(record, None)
        if not self._is_fit(dbapi_connection.driver_connection, record.info):
            raise DisconnectionError

    def _close_outdated(self, dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        if dbapi_connection is None:
            return
        if record.info["login"] is self._current():
            self._idle[record] = monotonic()
            self._trim_later()
        else:
            record.invalidate()

    def _trim_later(self) -> None:
        if self._trimming is None and self.idle > self._size:
            self._trimming = asyncio.get_running_loop().call_later(IDLE_OVERFLOW, self._trim)

    def _trim(self) -> None:
        """Close what has been idle for long beyond `database_pool_size`; look again while there may be more."""
        self._trimming = None
        unused_since = monotonic() - IDLE_OVERFLOW
        idle: list[tuple[float, Callable[[], None]]] = [
            *((since, record.invalidate) for record, since in self._idle.items()),
            *((since, partial(self._end_ready, pooled)) for pooled, since in self._ready.items()),
        ]
        longest = sorted(idle, key=itemgetter(0))[: max(0, len(idle) - self._size)]
        for since, end in longest:
            if since <= unused_since:
                end()
        self._trim_later()

    def _end_ready(self, pooled: Any) -> None:
        del self._ready[pooled]
        drop(pooled)

    def _forget_idle(self, _dbapi_connection: object, record: ConnectionPoolEntry) -> None:
        self._idle.pop(record, None)


def drop(pooled: Any) -> None:
    """Close it at once, without a word to the server; the pool may make another one."""
    pooled.invalidate()
    pooled.close()


async def end(pooled: Any) -> None:
    """Close it, telling PostgreSQL to stop what it does; the pool may make another one once it is given back."""
    await greenlet_spawn(pooled.invalidate)
