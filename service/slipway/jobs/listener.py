"""The one LISTEN connection of a worker: opened again when it is lost, and when the database login changes.

Notifications only make a worker look sooner. While nobody listens, it looks by itself every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from slipway.jobs.away import DATABASE_AWAY, pauses
from slipway.jobs.metrics import DATABASE_ERRORS
from slipway.jobs.queue import CHANNEL
from slipway.storage.engine import Database

_CHECK_EVERY = 15.0
_CHECK_TIMEOUT = 5.0

log = logging.getLogger("slipway.jobs")


class Listener:
    """Calls `wake` for each notification, and once after each (re)connection for what was missed before it."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._outdated = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; never raises because of the database."""
        engine = self._database.engine.sync_engine
        # The pool is disposed of when the login changes, after the new login took its place.
        event.listen(engine, "engine_disposed", self._mark_outdated)
        try:
            waits = pauses()
            while True:
                try:
                    await self._listen()
                    waits = pauses()
                except DATABASE_AWAY as error:
                    DATABASE_ERRORS.inc()
                    log.warning("can't listen for jobs", extra={"error": type(error).__name__})
                await asyncio.sleep(next(waits))
        finally:
            event.remove(engine, "engine_disposed", self._mark_outdated)

    def _mark_outdated(self, *_: object) -> None:
        self._outdated.set()

    async def _listen(self) -> None:
        """Returns when this connection is of no more use; raises when it can't be had or stops answering."""
        self._outdated.clear()
        async with self._database.engine.connect() as connection:
            # Never goes back to the pool: whoever got it next would be listening too.
            try:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                driver.add_termination_listener(self._mark_outdated)
                async with asyncio.timeout(_CHECK_TIMEOUT):
                    await driver.add_listener(CHANNEL, lambda *_: self._wake())
                self._wake()
                await self._until_outdated(driver)
            finally:
                await connection.invalidate()

    async def _until_outdated(self, driver: Any) -> None:
        while not self._outdated.is_set():
            try:
                await asyncio.wait_for(self._outdated.wait(), _CHECK_EVERY)
            except TimeoutError:
                # A peer that vanished without a word is noticed by asking.
                await driver.fetchval("SELECT 1", timeout=_CHECK_TIMEOUT)
