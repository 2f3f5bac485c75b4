"""Announcing contracts before they run, and taking announcements back: both as the only runner on the database."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from slipway.migrations import ledger
from slipway.migrations.errors import MigrationError
from slipway.migrations.ledger import LedgerRow
from slipway.migrations.preparation import Wish, prepare
from slipway.migrations.progress import Listen, Progress, Report, unheard
from slipway.migrations.runner import Outcome
from slipway.migrations.script import VERSIONS, Chain, read_chain
from slipway.migrations.session import alone
from slipway.settings import Settings

_log = logging.getLogger("slipway.migrations")


async def announce(
    settings: Settings,
    *,
    patience: float = 0.0,
    versions: Path = VERSIONS,
    report: Report = _log.info,
    listen: Listen = unheard,
) -> Outcome:
    """Announce every contract of this image that isn't applied: from then on no pod that one breaks starts.

    Also those that an expand still follows or precedes. Doing it twice changes nothing. Raises as `upgrade` does.
    """
    chain = read_chain(versions)
    async with alone(settings, Progress(report, listen), patience) as session:
        pending = (await prepare(session.raw, settings, chain, Wish(), versions)).run
        contracts = tuple(revision for revision in pending if revision.kind == "contract")
        async with session.raw.transaction():
            for revision in contracts:
                await ledger.announce(session.raw, revision)
        current = await ledger.read_heads(session.raw)
    return Outcome((), tuple(revision.id for revision in contracts), current)


async def withdraw(
    settings: Settings,
    revision: str | None = None,
    *,
    patience: float = 0.0,
    versions: Path = VERSIONS,
    report: Report = _log.info,
    listen: Listen = unheard,
) -> tuple[tuple[str, ...], Outcome]:
    """Take back announcements of contracts that never ran, and return whose: `revision`, else all of other images.

    Raises MigrationError when `revision` was applied or nobody knows it, else as `upgrade` does.
    """
    chain = read_chain(versions)
    async with alone(settings, Progress(report, listen), patience) as session:
        current = await ledger.read_heads(session.raw)
        rows = await ledger.read_rows(session.raw) or ()
        taken_back = decide_withdrawal(chain, current, rows, revision)
        if taken_back:
            await ledger.withdraw(session.raw, taken_back)
    left = tuple(row.revision for row in rows if is_open(row) and row.revision not in taken_back)
    return taken_back, Outcome((), left, current)


def foreign(chain: Chain, heads: tuple[str, ...], rows: Iterable[LedgerRow]) -> tuple[str, ...]:
    """Contracts that were announced, never ran, and that this image doesn't know."""
    return tuple(
        row.revision for row in rows if is_open(row) and row.revision not in chain and row.revision not in heads
    )


def decide_withdrawal(
    chain: Chain, heads: tuple[str, ...], rows: Iterable[LedgerRow], revision: str | None
) -> tuple[str, ...]:
    """Whose announcement to take back. Raises MigrationError as `withdraw` does."""
    ledger_rows = {row.revision: row for row in rows}
    if revision is None:
        return foreign(chain, heads, ledger_rows.values())
    row = ledger_rows.get(revision)
    if row is None and revision not in chain:
        raise MigrationError(f"Neither the ledger nor this image knows revision {revision}.", reason="RevisionUnknown")
    if (row is not None and row.applied) or revision in chain.reached(heads) or revision in heads:
        raise MigrationError(f"Revision {revision} was applied: its announcement can't be taken back.")
    return (revision,) if row is not None and is_open(row) else ()


def is_open(row: LedgerRow) -> bool:
    """Whether the contract is announced and hasn't run."""
    return row.kind == "contract" and row.announced and not row.applied
