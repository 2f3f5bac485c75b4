"""When a process may take traffic: its schema is there, its database was reached once, and it isn't leaving.

Schema and database are looked at while starting only: later, a database that is away gives honest 503 problems,
whereas an unready pod would empty the Service and give connection errors.

Failure policy: whatever goes wrong is logged and shown by `/readyz?verbose`, and looked at again: nothing ends the
looking but success and the end of the process.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from slipway.administrators import AdministratorError, create_first_administrator, read_administrator
from slipway.edge.drain import DrainState
from slipway.edge.ops import Check
from slipway.http.problems import AppException
from slipway.migrations.errors import DATABASE_ERRORS, MigrationError, describe
from slipway.migrations.gate import GateVerdict, look_at_gate
from slipway.resources import Resources
from slipway.settings.production import is_demo_secret

logger = logging.getLogger("slipway.readiness")

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0

LONGEST_LOOK = 60.0
"""Seconds; each read in it has a shorter limit of its own."""

OWN_SENTENCES = (AdministratorError, AppException, MigrationError)
FORESEEN = (*OWN_SENTENCES, *DATABASE_ERRORS, SQLAlchemyError)


class Startup:
    """What has been seen so far; `done` is set once and stays."""

    def __init__(self, resources: Resources, drain: DrainState) -> None:
        self._resources = resources
        self._drain = drain
        self._waiting_for = "the database has not been looked at yet"
        self.done = asyncio.Event()

    def checks(self) -> list[Check]:
        """The lines of `/readyz?verbose`."""
        draining = self._drain.draining
        return [
            Check("traffic", not draining, "leaving: no new work, please" if draining else "serving"),
            Check(
                "schema", self.done.is_set(), "as this release needs it" if self.done.is_set() else self._waiting_for
            ),
        ]

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look until everything is there, in the background, for as long as the block runs."""
        task = asyncio.create_task(self._look_until_done())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look_until_done(self) -> None:
        wait = FIRST_WAIT
        while not self.done.is_set():
            try:
                async with asyncio.timeout(LONGEST_LOOK):
                    await self._look_once()
            except Exception as error:  # noqa: BLE001 - see above; a task that ended would leave the process unready, mute
                self._report(_reason(error), unforeseen=None if isinstance(error, FORESEEN) else error)
            if not self.done.is_set():
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                wait = min(LONGEST_WAIT, wait * 2)

    async def _look_once(self) -> None:
        verdict: GateVerdict = await look_at_gate(self._resources.database)
        if not verdict.is_open:
            self._report(verdict.sentence)
            return
        await self._make_first_administrator()
        logger.info("Ready.")
        self.done.set()

    async def _make_first_administrator(self) -> None:
        settings = self._resources.settings
        if settings.admin_credentials_dir is None:
            return
        email, password = read_administrator(settings.admin_credentials_dir)
        if settings.production and is_demo_secret(password):
            raise AdministratorError("the administrator's password is a demo password: choose another")
        if await create_first_administrator(self._resources.database, self._resources.passwords, email, password):
            logger.info("The first administrator was created.")

    def _report(self, reason: str, *, unforeseen: Exception | None = None) -> None:
        if reason != self._waiting_for:
            logger.warning("Not ready yet.", extra={"reason": reason}, exc_info=unforeseen)
        self._waiting_for = reason


def _reason(error: Exception) -> str:
    """A sentence without secrets: our own as they are, the database's as `slipway db` says them, or the kind."""
    if isinstance(error, AppException):
        return " ".join([error.message, *(f"{detail.location}: {detail.message}" for detail in error.details)])
    if isinstance(error, OWN_SENTENCES):
        return str(error)
    if isinstance(error, (*DATABASE_ERRORS, SQLAlchemyError)):
        return f"the database can't be used: {describe(error)}"
    return f"unforeseen, see the log: {type(error).__name__}"
