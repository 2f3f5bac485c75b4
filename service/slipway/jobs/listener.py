"""The one LISTEN connection of a worker: opened again when it is lost, and when the database login changes.

Notifications only make a worker look sooner. While nobody listens, it looks by itself every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from slipway.jobs.away import DATABASE_AWAY, pauses
from slipway.jobs.metrics import DATABASE_ERRORS
from slipway.jobs.queue import CHANNEL
from slipway.storage.connections import end
from slipway.storage.engine import Database

LOOK_EVERY = 0.5
"""Seconds between looks at the login in use; they cost no round trip."""

ASK_EVERY = 15.0
"""Seconds between questions to the server: a peer that vanished without a word is noticed by asking."""
ANSWER_WITHIN = 5.0

log = logging.getLogger("slipway.jobs")


class Listener:
    """Calls `wake` for each notification, and once after each (re)connection for what was missed before it."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    async def run(self) -> None:
        """Listen until cancelled; never raises because of the database."""
        waits = pauses()
        while True:
            try:
                await self._listen()
                waits = pauses()
            except DATABASE_AWAY as error:
                DATABASE_ERRORS.inc()
                log.warning("can't listen for jobs", extra={"error": type(error).__name__})
            await asyncio.sleep(next(waits))

    async def _listen(self) -> None:
        """Returns when this connection is of no more use; raises when it can't be had or stops answering."""
        lost = asyncio.Event()
        pooled = await self._database.connections.take()
        # Nobody gets it after this: who did would be listening too.
        try:
            driver = pooled.driver_connection
            driver.add_termination_listener(lambda _: lost.set())
            async with asyncio.timeout(ANSWER_WITHIN):
                await driver.add_listener(CHANNEL, lambda *_: self._wake())
            self._wake()
            await self._until_useless(driver, lost)
        finally:
            await end(pooled)
            self._database.connections.give_back(pooled)

    async def _until_useless(self, driver: Any, lost: asyncio.Event) -> None:
        asked = monotonic()
        while not lost.is_set() and not self._has_old_login(driver):
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), LOOK_EVERY)
            if monotonic() - asked > ASK_EVERY:
                await driver.fetchval("SELECT 1", timeout=ANSWER_WITHIN)
                asked = monotonic()

    def _has_old_login(self, driver: Any) -> bool:
        """PostgreSQL reports whom it let in, whatever role such a login takes on afterwards."""
        return bool(driver.get_settings().session_authorization != self._database.role)
