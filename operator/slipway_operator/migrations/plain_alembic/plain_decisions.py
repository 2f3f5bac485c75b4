"""What the ledger and Alembic's table mean for an image: what is pending, and whether its pods may start."""

from __future__ import annotations

from typing import NamedTuple

from plain_output import Failure


class Revision(NamedTuple):
    id: str
    kind: str
    message: str
    parents: tuple[str, ...]


class Row(NamedTuple):
    revision: str
    kind: str
    announced: bool
    applied: bool


def reached(chain: tuple[Revision, ...], heads: tuple[str, ...]) -> set[str]:
    """The ids of `heads` and all that came before them, of those that the image knows."""
    parents = {revision.id: revision.parents for revision in chain}
    found: set[str] = set()
    left = [head for head in heads if head in parents]
    while left:
        found.add(head := left.pop())
        left.extend(parents[head])
    return found


def decide_pending(chain: tuple[Revision, ...], heads: tuple[str, ...], rows: tuple[Row, ...]) -> tuple[Revision, ...]:
    """What the image still has to run; nothing on a database that is ahead of it.

    Raises Failure on a strange one, and on one that a later release's contract has changed.
    """
    known = {revision.id for revision in chain}
    unknown = [head for head in heads if head not in known]
    if not unknown:
        return tuple(revision for revision in chain if revision.id not in reached(chain, heads))
    applied = {row.revision: row.kind for row in rows if row.applied}
    broken_by = [revision for revision, kind in applied.items() if kind == "contract" and revision not in known]
    if broken_by:
        message = f"Contract {', '.join(broken_by)} of a later release was applied: this image can't work with the schema any more. Go forward to that release or a newer one."  # noqa: E501 - a sentence
        raise Failure("RevisionUnknown", message, lasting=True)
    if known <= applied.keys():
        return ()
    message = f"The database is at {', '.join(unknown)}, which this image doesn't know, and the ledger doesn't say that it came after {chain[-1].id}: run the image that brought it there."  # fmt: skip  # noqa: E501 - a sentence
    raise Failure("RevisionUnknown", message, lasting=True)


def hold_contracts(pending: tuple[Revision, ...]) -> tuple[tuple[Revision, ...], tuple[Revision, ...]]:
    """What comes before the first contract, and the rest. Raises Failure when an expand is in that rest."""
    first = next((place for place, revision in enumerate(pending) if revision.kind == "contract"), len(pending))
    stranded = [revision.id for revision in pending[first:] if revision.kind == "expand"]
    if not stranded:
        return pending[:first], pending[first:]
    message = f"Contract {pending[first].id} comes before {stranded[-1]}, which this image needs. Deploy the release that ends with that contract first, or stop the pods of earlier releases and run --phase=all."  # noqa: E501 - a sentence
    raise Failure("ReleaseSkipped", message, lasting=True)


def refuse_unannounced(run: tuple[Revision, ...], rows: tuple[Row, ...]) -> None:
    """Who was sent to run a contract may come late: since it was withdrawn, pods that it breaks start again."""
    announced = {row.revision for row in rows if row.announced}
    gone = [revision.id for revision in run if revision.kind == "contract" and revision.id not in announced]
    if gone:
        message = f"Contract {', '.join(gone)} isn't announced any more, so pods that it breaks may have started. It has to be announced, and every pod looked at, once more."  # noqa: E501 - a sentence
        raise Failure("AnnouncementGone", message)


def decide_gate(chain: tuple[Revision, ...], rows: tuple[Row, ...] | None) -> tuple[str, str, str]:
    """(open, waiting or refused; reason; sentence). A contract that is announced is as good as applied."""
    if rows is None:
        return "waiting", "LedgerMissing", "The database has no ledger that this login may read yet."
    known, applied = {revision.id for revision in chain}, {row.revision for row in rows if row.applied}
    breaking = [row for row in rows if row.kind == "contract" and row.revision not in known]
    for row in sorted(breaking, key=lambda row: not row.applied):
        if row.applied or row.announced:
            what = "was applied" if row.applied else "was announced and may be applied at any moment"
            sentence = f"Contract {row.revision} of a later release {what}: start that release or a newer one."
            return "refused", "ContractApplied" if row.applied else "ContractAnnounced", sentence
    needs = next((revision.id for revision in reversed(chain) if revision.kind == "expand"), None)
    if needs is not None and needs not in applied:
        return "waiting", "RevisionMissing", f"Revision {needs}, which this image needs, isn't applied yet."
    return "open", "SchemaReady", "The schema has what this image needs."


def is_open(row: Row) -> bool:
    """Whether the contract is announced and hasn't run."""
    return row.kind == "contract" and row.announced and not row.applied


def foreign(chain: tuple[Revision, ...], heads: tuple[str, ...], rows: tuple[Row, ...]) -> list[str]:
    """Contracts that were announced, never ran, and that this image doesn't know."""
    known = {*heads, *(revision.id for revision in chain)}
    return [row.revision for row in rows if is_open(row) and row.revision not in known]
