"""`slipway db upgrade`: brings a database to an image's schema, revision by revision, one runner at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slipway.migrations import ledger
from slipway.migrations.blockers import describe_blockers
from slipway.migrations.configuration import configuration
from slipway.migrations.errors import MigrationError, describe, reason_of_statement, sqlstate_of
from slipway.migrations.grants import grant
from slipway.migrations.locks import ATTEMPTS, LOCK_STATES, pause_before, watching
from slipway.migrations.plan import Phase
from slipway.migrations.preparation import Wish, prepare
from slipway.migrations.progress import Listen, Progress, Report, Working, unheard
from slipway.migrations.script import VERSIONS, Revision, read_chain
from slipway.migrations.session import Session, alone
from slipway.settings import Settings

_log = logging.getLogger("slipway.migrations")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an upgrade did: revisions run (ids, in order), contracts left for later, and where the database is now."""

    applied: tuple[str, ...]
    held_back: tuple[str, ...]
    current: tuple[str, ...]


async def upgrade(
    settings: Settings,
    *,
    target: str = "head",
    phase: Phase = "all",
    expected: Mapping[str, str] | None = None,
    patience: float = 0.0,
    versions: Path = VERSIONS,
    report: Report = _log.info,
    listen: Listen = unheard,
) -> Outcome:
    """Bring the database to `target`. Uses the login in `settings`, which must own the schema.

    Waits for other runners, and up to `patience` (seconds) for a server that isn't up yet. What was committed stays:
    each revision is a transaction with its row in the ledger, so that a run that ended early, in whatever way, is
    finished by the next. Where something is `expected` (revision → SHA-256 of its SQL), only that is run.
    Raises MigrationError (also when the budget is used up), LoginError, or what `DATABASE_ERRORS` lists.
    """
    chain = read_chain(versions)
    progress = Progress(report, listen)
    async with alone(settings, progress, patience) as session:
        steps = await prepare(session.raw, settings, chain, Wish(target, phase, expected), versions)
        for revision in steps.run:
            await _apply(session, settings, revision, versions, progress)
        if settings.database_grant_to:
            await grant(session.raw, settings.database_grant_to)
        current = await ledger.read_heads(session.raw)
    return Outcome(_ids(steps.run), _ids(steps.held_back), current)


async def stamp(settings: Settings, target: str, *, versions: Path = VERSIONS, report: Report = _log.info) -> None:
    """Make Alembic's table and the ledger say that the schema is at `target` (`head`, `base` or an id).

    Runs no revision: for a person who knows what the schema is. Raises as `upgrade` does.
    """
    chain = read_chain(versions)
    applied = () if target == "base" else chain.until(target)
    async with alone(settings, Progress(report)) as session:
        async with session.raw.transaction():
            await ledger.create(session.raw)
            await ledger.replace(session.raw, applied)
        if settings.database_grant_to:
            await grant(session.raw, settings.database_grant_to)


def _ids(revisions: tuple[Revision, ...]) -> tuple[str, ...]:
    return tuple(revision.id for revision in revisions)


async def _apply(session: Session, settings: Settings, revision: Revision, versions: Path, progress: Progress) -> None:
    """Run one revision, again and again while a lock is in the way; told in one line when it is done."""
    if revision.kind == "contract":
        await ledger.announce(session.raw, revision)
    started = monotonic()
    subject = f"Revision {revision.id}"
    progress.listen(Working(f"{subject} runs."))
    async with watching(settings, session.raw.get_server_pid(), progress, subject) as watch:
        for attempt in count(1):
            try:
                await session.sqlalchemy.run_sync(run_revision, revision, versions, progress)
                break
            except DBAPIError as error:
                if sqlstate_of(error) not in LOCK_STATES:
                    raise MigrationError(
                        f"{subject} failed: {describe(error)}.", reason=reason_of_statement(error)
                    ) from error
                in_the_way = describe_blockers(watch.last)
                if attempt == ATTEMPTS:
                    raise MigrationError(
                        f"{subject} got no lock in {ATTEMPTS} tries; in the way: {in_the_way}.",
                        reason="LockNotAvailable",
                    ) from error
            pause = pause_before(attempt + 1)
            progress.report(f"{revision.id}  no lock because of {in_the_way}; next try in {pause:.1f} s")
            await watch.stand_back(pause)
    took = monotonic() - started
    progress.report(f"{revision.id}  {revision.kind}  {revision.message}  ({took:.2f} s)")
    progress.listen(Working(f"{subject} is done after {took:.2f} s."))


def run_revision(connection: Connection, revision: Revision, versions: Path, progress: Progress) -> None:
    """Run one revision by Alembic, with its row in the ledger in the same transaction.

    Raises DBAPIError when a statement fails, MigrationError when the revision turns out to be there already.
    """
    config = configuration(versions)
    script = ScriptDirectory.from_config(config)
    recorded = False

    def record(ctx: Any, **_: Any) -> None:
        nonlocal recorded
        ledger.record(ctx.connection, revision)
        recorded = True

    config.attributes.update(connection=connection, on_version_apply=record, progress=progress)
    context = EnvironmentContext(
        config,
        script,
        fn=lambda heads, _context: script._upgrade_revs(revision.id, heads),  # noqa: SLF001 - as Alembic's own command
        destination_rev=revision.id,
    )
    try:
        with context:
            script.run_env()
    finally:
        # In a transaction that is left open, Alembic would run the next revision without ever committing it.
        connection.rollback()
    if not recorded:
        raise MigrationError(f"Revision {revision.id} was applied by someone else meanwhile: run the upgrade again.")
