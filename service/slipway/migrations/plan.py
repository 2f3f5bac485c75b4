"""What an upgrade will do, decided before it does anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from slipway.migrations.errors import MigrationError
from slipway.migrations.ledger import LedgerRow
from slipway.migrations.script import Chain, Revision

Phase = Literal["all", "expand", "announced"]
"""How far to go: to the end, to the first contract, or to the end where every contract on the way is announced."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The revisions to run now, in order, and the contracts that are left for later."""

    run: tuple[Revision, ...]
    held_back: tuple[Revision, ...]


def decide_steps(
    chain: Chain, heads: tuple[str, ...], rows: Iterable[LedgerRow], *, target: str = "head", phase: Phase = "all"
) -> Steps:
    """Decide from what Alembic's table (`heads`) and the ledger say. Raises MigrationError when it can't be done.

    A database that is ahead of this image needs nothing, unless a contract broke the image on the way. On one that is
    empty, every phase runs everything: no code is there that a contract could break.
    """
    wanted = chain.until(target)
    unknown = [head for head in heads if head not in chain]
    if unknown:
        applied = {row.revision: row.kind for row in rows if row.applied}
        _refuse_broken([revision for revision, kind in applied.items() if kind == "contract" and revision not in chain])
        if all(revision.id in applied for revision in wanted):
            return Steps((), ())
        raise MigrationError(
            f"The database is at {', '.join(unknown)}, which this image doesn't know, and the ledger doesn't say that "
            f"it came after {wanted[-1].id}: run the image that brought it there, or `slipway db stamp`.",
            reason="RevisionUnknown",
        )
    reached = chain.reached(heads)
    pending = tuple(revision for revision in wanted if revision.id not in reached)
    if phase == "expand" and heads:
        return _expand_only(pending)
    if phase == "announced" and heads:
        _refuse_unannounced(pending, rows)
    return Steps(pending, ())


def _refuse_unannounced(pending: Sequence[Revision], rows: Iterable[LedgerRow]) -> None:
    """Who was sent to run a contract may come late: since it was withdrawn, pods that it breaks start again."""
    announced = {row.revision for row in rows if row.announced}
    gone = [revision.id for revision in pending if revision.kind == "contract" and revision.id not in announced]
    if gone:
        raise MigrationError(
            f"Contract {', '.join(gone)} isn't announced any more, so pods that it breaks may have started. Nothing "
            "was run: it has to be announced, and every pod looked at, once more.",
            reason="AnnouncementGone",
        )


def _refuse_broken(contracts: Sequence[str]) -> None:
    """As the gate does: that there is nothing to run doesn't make such an image fit for the database."""
    if contracts:
        raise MigrationError(
            f"Contract {', '.join(contracts)} of a later release was applied: this image can't work with the schema "
            "any more. Go forward to that release or a newer one.",
            reason="RevisionUnknown",
        )


def _expand_only(pending: tuple[Revision, ...]) -> Steps:
    """Everything before the first pending contract; refuses when an expand comes after one."""
    first = next((index for index, revision in enumerate(pending) if revision.kind == "contract"), len(pending))
    stranded = [revision.id for revision in pending[first:] if revision.kind == "expand"]
    if stranded:
        raise MigrationError(
            f"Contract {pending[first].id} comes before {stranded[-1]}, which this image needs. Deploy the release "
            "that ends with that contract first, or stop the pods of earlier releases and run `--phase all`.",
            reason="ReleaseSkipped",
        )
    return Steps(pending[:first], pending[first:])
