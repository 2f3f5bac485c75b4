"""`slipway db upgrade`: brings a database to an image's schema, revision by revision, one runner at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slipway.migrations import ledger
from slipway.migrations.configuration import configuration
from slipway.migrations.errors import MigrationError, describe, sqlstate_of
from slipway.migrations.grants import check_role, grant
from slipway.migrations.locks import ATTEMPTS, LOCK_STATES, describe_blockers, pause_before, watching
from slipway.migrations.plan import Phase, Steps, decide_steps
from slipway.migrations.script import VERSIONS, Chain, Revision, read_chain
from slipway.migrations.session import Report, Session, open_session, take_lock
from slipway.settings import Settings

_log = logging.getLogger("slipway.migrations")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an upgrade did: revisions run (ids, in order) and contracts left for later."""

    applied: tuple[str, ...]
    held_back: tuple[str, ...]


async def upgrade(
    settings: Settings,
    *,
    target: str = "head",
    phase: Phase = "all",
    patience: float = 0.0,
    versions: Path = VERSIONS,
    report: Report = _log.info,
) -> Outcome:
    """Bring the database to `target`. Uses the login in `settings`, which must own the schema.

    Waits for other runners, and up to `patience` (seconds) for a server that isn't up yet. What was committed stays:
    each revision is a transaction with its row in the ledger, so that a run that ended early, in whatever way, is
    finished by the next. Raises MigrationError (also when the budget is used up), LoginError, or what
    `DATABASE_ERRORS` lists.
    """
    chain = read_chain(versions)
    async with _alone(settings, report, patience) as session:
        steps = await _prepare(session.raw, settings, chain, target, phase)
        for revision in steps.run:
            await _apply(session, settings, revision, versions, report)
        if settings.database_grant_to:
            await grant(session.raw, settings.database_grant_to)
    return Outcome(_ids(steps.run), _ids(steps.held_back))


async def stamp(settings: Settings, target: str, *, versions: Path = VERSIONS, report: Report = _log.info) -> None:
    """Make Alembic's table and the ledger say that the schema is at `target` (`head`, `base` or an id).

    Runs no revision: for a person who knows what the schema is. Raises as `upgrade` does.
    """
    chain = read_chain(versions)
    applied = () if target == "base" else chain.until(target)
    async with _alone(settings, report) as session:
        async with session.raw.transaction():
            await ledger.create(session.raw)
            await ledger.replace(session.raw, applied)
        if settings.database_grant_to:
            await grant(session.raw, settings.database_grant_to)


@asynccontextmanager
async def _alone(settings: Settings, report: Report, patience: float = 0.0) -> AsyncIterator[Session]:
    """The only runner's session; raises MigrationError when the budget ends before the block does."""
    try:
        async with (
            asyncio.timeout(settings.migration_budget) as budget,
            open_session(settings, patience, report) as session,
        ):
            await take_lock(session.raw, report)
            yield session
    except TimeoutError:
        if not budget.expired():
            raise
        raise MigrationError(
            f"The budget of {settings.migration_budget:g} s is used up. What was done stays; run it again."
        ) from None


def _ids(revisions: tuple[Revision, ...]) -> tuple[str, ...]:
    return tuple(revision.id for revision in revisions)


async def _prepare(raw: asyncpg.Connection, settings: Settings, chain: Chain, target: str, phase: Phase) -> Steps:
    """Make ledger and rights, adopt what plain Alembic did, and decide what to run; all or nothing."""
    if settings.database_grant_to:
        await check_role(raw, settings.database_grant_to)
    async with raw.transaction():
        await ledger.create(raw)
        heads = await ledger.read_heads(raw)
        rows = await ledger.read_rows(raw) or ()
        steps = decide_steps(chain, heads, rows, target=target, phase=phase)
        if all(head in chain for head in heads):
            await ledger.correct(raw, ledger.compare(chain, chain.reached(heads), rows))
        if settings.database_grant_to:
            await grant(raw, settings.database_grant_to)
    return steps


async def _apply(session: Session, settings: Settings, revision: Revision, versions: Path, report: Report) -> None:
    """Run one revision, again and again while a lock is in the way; told in one line when it is done."""
    if revision.kind == "contract":
        await ledger.announce(session.raw, revision)
    started = monotonic()
    pid = session.raw.get_server_pid()
    async with watching(settings, pid, report) as watch:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await session.sqlalchemy.run_sync(run_revision, revision, versions)
                break
            except DBAPIError as error:
                if sqlstate_of(error) not in LOCK_STATES:
                    raise MigrationError(f"Revision {revision.id} failed: {describe(error)}.") from error
                in_the_way = describe_blockers(watch.last)
                if attempt == ATTEMPTS:
                    raise MigrationError(
                        f"Revision {revision.id} got no lock in {ATTEMPTS} tries; in the way: {in_the_way}."
                    ) from error
            pause = pause_before(attempt + 1)
            report(f"{revision.id}  no lock because of {in_the_way}; next try in {pause:.1f} s")
            await asyncio.sleep(pause)
    report(f"{revision.id}  {revision.kind}  {revision.message}  ({monotonic() - started:.2f} s)")


def run_revision(connection: Connection, revision: Revision, versions: Path) -> None:
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

    config.attributes.update(connection=connection, on_version_apply=record)
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
