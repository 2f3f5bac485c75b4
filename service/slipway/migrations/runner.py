"""`slipway db upgrade`: brings a database to an image's schema, revision by revision, one runner at a time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slipway.migrations import ledger
from slipway.migrations.errors import MigrationError
from slipway.migrations.grants import check_role, grant
from slipway.migrations.plan import Phase, Steps, decide_steps
from slipway.migrations.script import VERSIONS, Chain, Revision, configuration, read_chain
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
    versions: Path = VERSIONS,
    report: Report = _log.info,
) -> Outcome:
    """Bring the database to `target`. Uses the login in `settings`, which must own the schema.

    Waits for other runners. What was committed stays: each revision is a transaction with its row in the ledger, so
    that a run that ended early, in whatever way, is finished by the next. Raises MigrationError, LoginError, OSError
    or asyncpg's errors; MigrationError too when the budget is used up.
    """
    chain = read_chain(versions)
    try:
        async with asyncio.timeout(settings.migration_budget) as budget, open_session(settings) as session:
            await take_lock(session.raw, report)
            steps = await _prepare(session.raw, settings, chain, target, phase)
            for revision in steps.run:
                await _apply(session, revision, versions, report)
            if settings.database_grant_to:
                await grant(session.raw, settings.database_grant_to)
    except TimeoutError:
        if not budget.expired():
            raise
        raise MigrationError(
            f"The budget of {settings.migration_budget:g} s is used up. What was done stays; run it again."
        ) from None
    return Outcome(_ids(steps.run), _ids(steps.held_back))


def _ids(revisions: tuple[Revision, ...]) -> tuple[str, ...]:
    return tuple(revision.id for revision in revisions)


async def _prepare(raw: asyncpg.Connection, settings: Settings, chain: Chain, target: str, phase: Phase) -> Steps:
    """Make ledger and rights, adopt what plain Alembic did, and decide what to run."""
    role = settings.database_grant_to
    if role:
        await check_role(raw, role)
    async with raw.transaction():
        await ledger.create(raw)
        heads = await ledger.read_heads(raw)
        rows = await ledger.read_rows(raw) or ()
        steps = decide_steps(chain, heads, rows, target=target, phase=phase)
        if all(head in chain for head in heads):
            await ledger.correct(raw, ledger.compare(chain, chain.reached(heads), rows))
        if role:
            await grant(raw, role)
    return steps


async def _apply(session: Session, revision: Revision, versions: Path, report: Report) -> None:
    if revision.kind == "contract":
        await ledger.announce(session.raw, revision)
    started = monotonic()
    try:
        await session.sqlalchemy.run_sync(run_revision, revision, versions)
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        raise MigrationError(f"Revision {revision.id} failed: {getattr(cause, 'message', cause)}.") from error
    report(f"{revision.id}  {revision.kind}  {revision.message}  ({monotonic() - started:.2f} s)")


def run_revision(connection: Connection, revision: Revision, versions: Path) -> None:
    """Run one revision by Alembic, with its row in the ledger in the same transaction."""
    config = configuration(versions)
    script = ScriptDirectory.from_config(config)

    def record(ctx: Any, **_: Any) -> None:
        ledger.record(ctx.connection, revision)

    config.attributes.update(connection=connection, on_version_apply=record)
    context = EnvironmentContext(
        config,
        script,
        fn=lambda heads, _context: script._upgrade_revs(revision.id, heads),  # noqa: SLF001 - as Alembic's own command
        destination_rev=revision.id,
    )
    with context:
        script.run_env()
