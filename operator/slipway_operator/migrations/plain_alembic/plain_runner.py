"""Upgrades, announces and withdraws, one runner at a time."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from plain_database import ANNOUNCE, BACKEND, CHECK_INTERVAL, CREATE, DELETE, LEDGER, LOCK_KEY, RECORD, read_rows, write
from plain_decisions import (
    Revision,
    Row,
    decide_pending,
    foreign,
    hold_contracts,
    is_open,
    reached,
    refuse_unannounced,
)
from plain_errors import LOCK_STATES, LOST, describe, is_of_database, refuses_login, sqlstate_of
from plain_image import Image, digest
from plain_output import Failure, Output
from plain_watch import Watch

ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE = 30, 0.5, 10.0  # of a revision that gets no lock; seconds
POOLER = (
    "A pooler is between env.py and PostgreSQL, and lends our lock to others: name the server itself in the Secret."
)


class BusyError(Exception):
    """Another runner has the lock. Raised through env.py, so that nobody waits in a transaction."""


class Runner:
    """A command's way through env.py to the database, and where it stands there."""

    def __init__(self, image: Image, output: Output, options: argparse.Namespace) -> None:
        self._image, self._output, self._options = image, output, options
        self._end, self._what = monotonic() + options.patience, ""
        self._watch: Watch | None = None
        self._running: Revision | None = None
        self._digests: dict[str, str | None] = {}
        self._fresh, self._finished = False, False
        self.applied: list[str] = []
        self.held_back: list[str] = []
        self.heads: tuple[str, ...] = ()

    def visit(self, work: Callable[[Any], str]) -> None:
        """Let env.py connect and do `work`; again while the database isn't up or another runner is at work."""
        while True:
            self._what = ""
            try:
                self._image.run(work)
            except BusyError:
                self._output.say("Another runner is at work on this database; waiting for it.", "WaitingForRunner")
            except Failure:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the image's own code
                failure = self._failure(error)
                if self._what or failure.reason != "DatabaseUnreachable" or monotonic() >= self._end:
                    raise failure from None
                self._output.say(str(failure), failure.reason)
            else:
                return
            sleep(random.uniform(0.3, 1.0))  # noqa: S311 - jitter

    def _failure(self, error: BaseException) -> Failure:
        state, message = sqlstate_of(error), f"{self._what or 'env.py'} failed: {describe(error)}."
        if state in ("42P05", "26000"):  # statements that another client prepared on the session, or that are gone
            return Failure("PoolerInBetween", POOLER, lasting=True)
        if state in LOCK_STATES:
            blockers = self._watch.last if self._watch else "another session"
            return Failure("LockNotAvailable", f"{self._what} got no lock because of {blockers}.")
        if not self._what and is_of_database(error) and refuses_login(error):
            return Failure("LoginRefused", f"The database refuses the login: {describe(error)}.")
        if state.startswith(LOST) or (not state and is_of_database(error)):
            return Failure("DatabaseUnreachable", f"The database can't be reached: {describe(error)}.")
        if state == "42501" and self._running is None:
            return Failure("RoleUnfit", f"{message} Let the Secret have the login of the schema's owner.", lasting=True)
        return Failure("StatementFailed" if state else "MigrationFailed", message)

    def enter(self, context: Any) -> Connection:
        """The session, with its limits. Raises Failure where a pooler is in between."""
        connection: Connection = context.connection
        self._what = "The ledger"
        driver = connection.connection.driver_connection
        told = getattr(getattr(driver, "info", None), "backend_pid", None) or getattr(driver, "get_server_pid", int)()
        if told and told != connection.scalar(text(BACKEND)):
            raise Failure("PoolerInBetween", POOLER, lasting=True)
        limits = [(name, getattr(self._options, name)) for name in ("lock_timeout", "statement_timeout")]

        def limit(begun: Connection) -> None:
            # Not in autocommit: a concurrent index build waits for old transactions, and blocks nobody meanwhile.
            for name, seconds in limits if begun.get_execution_options().get("isolation_level") != "AUTOCOMMIT" else ():
                begun.exec_driver_sql(f"SET LOCAL {name} = {max(1, int(seconds * 1000))}")

        limit(connection)
        event.listen(connection, "begin", limit)
        # A runner that was killed must not go on building, holding the lock, until its statement ends by itself.
        connection.execute(text(CHECK_INTERVAL))
        return connection

    def alone(self, act: Callable[[Any, tuple[Row, ...]], str]) -> None:
        """Visit as the only runner, and `act` in a transaction; it may answer with a revision to run."""

        def work(context: Any) -> str:
            connection = self.enter(context)
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
                raise BusyError
            with context.begin_transaction(_per_migration=True):
                self.heads = context.get_current_heads()
                return act(context, read_rows(connection) or ())

        try:
            self.visit(work)
        finally:
            if self._watch is not None:
                self._watch.over.set()

    def prepare(self, context: Any, rows: tuple[Row, ...]) -> tuple[Revision, ...]:
        """Make the ledger, let it agree with Alembic's table, and return what is pending. Raises as decide_pending."""
        chain, connection = self._image.chain, context.connection
        pending, done = decide_pending(chain, self.heads, rows), reached(chain, self.heads)
        context._ensure_version_table()  # noqa: SLF001 - Alembic itself would do it before there is a lock
        if connection.scalar(text(f"SELECT to_regclass('{LEDGER}')")) is None:
            connection.execute(text(CREATE))
            connection.execute(text(f"GRANT SELECT ON {LEDGER} TO PUBLIC"))  # ids only, and every gate must see them
        applied = {row.revision for row in rows if row.applied}
        for one in chain if done or not self.heads else ():
            if one.id in done and one.id not in applied:
                write(connection, RECORD, one.id, one.kind)
            elif one.id in applied and one.id not in done:
                write(connection, DELETE, one.id)
        return pending

    def announce(self, context: Any, rows: tuple[Row, ...]) -> str:
        self.held_back = [revision.id for revision in self.prepare(context, rows) if revision.kind == "contract"]
        for revision in self.held_back:
            write(context.connection, ANNOUNCE, revision, "contract")
        return ""

    def withdraw(self, context: Any, rows: tuple[Row, ...]) -> str:
        opened = [row.revision for row in rows if is_open(row)]
        strange = foreign(self._image.chain, self.heads, rows)
        for revision in strange:
            write(context.connection, DELETE, revision)
        self.held_back = [revision for revision in opened if revision not in strange]
        return ""

    def upgrade(self) -> None:
        """Run what is pending, revision by revision, each again and again while a lock is in the way."""
        self._digests = {one.id: digest(self._image.sql(one)) for one in self._image.chain if self._options.expect}
        tries = 1
        while not self._finished:
            self._running = self._watch = None
            try:
                self.alone(self._step)
            except Failure as failure:
                if failure.reason != "LockNotAvailable" or tries == ATTEMPTS:
                    raise
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
                pause, tries = random.uniform(longest / 2, longest), tries + 1  # noqa: S311 - jitter
                self._output.say(f"{failure} The next try is in {pause:.1f} s.", "WaitingForLock")
                sleep(pause)
                continue
            tries = 1
            if self._running is not None:
                self.applied.append(self._running.id)
                self._output.say(f"Revision {self._running.id} is done.")

    def _step(self, context: Any, rows: tuple[Row, ...]) -> str:
        """The next revision to run. A contract is announced first, in a visit of its own."""
        pending = self.prepare(context, rows)
        # On an empty database no code is there that a contract could break.
        self._fresh = self._fresh or not (self.heads or self.applied)
        run, held = (pending, ()) if self._fresh or self._options.phase == "all" else hold_contracts(pending)
        if self._options.marked and not self._fresh:
            refuse_unannounced(run, rows)
        self.held_back, self._finished = [revision.id for revision in held], not run
        for revision in run if self._options.expect else ():
            if self._digests[revision.id] != dict(self._options.expect).get(revision.id):
                message = f"Revision {revision.id} isn't what was planned: look at a new plan, and approve that."
                raise Failure("PlanChanged", message)
        if not run:
            return ""
        revision = run[0]
        if revision.id in self.applied:
            raise Failure("MigrationFailed", f"Revision {revision.id} ran, but env.py didn't commit it.")
        if revision.kind == "contract" and revision.id not in {row.revision for row in rows if row.announced}:
            write(context.connection, ANNOUNCE, revision.id, revision.kind)
            return ""
        self._running, self._what = revision, f"Revision {revision.id}"

        def record(ctx: Any, **_: Any) -> None:
            write(ctx.connection, RECORD, revision.id, revision.kind)

        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, record)
        self._output.say(f"{self._what} runs.")
        said = f"{self._what} waits for a lock that is held by"
        self._watch = Watch(context.connection, lambda who: self._output.say(f"{said} {who}.", "WaitingForLock"))
        return revision.id
