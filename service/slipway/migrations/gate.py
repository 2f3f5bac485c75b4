"""The gate: may code of this image start on the database as it is? The decision is pure; reading is beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.migrations.ledger import READ_ROWS, READABLE, LedgerRow
from slipway.migrations.script import VERSIONS, Chain, read_chain
from slipway.storage.engine import Database


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """`waiting` may change by itself; `refused` never does for this image. `sentence` is for people."""

    state: Literal["open", "waiting", "refused"]
    reason: str
    sentence: str

    @property
    def is_open(self) -> bool:
        return self.state == "open"


def decide_gate(chain: Chain, rows: Iterable[LedgerRow] | None) -> GateVerdict:
    """Decide from the image's revisions and the ledger (None: there is none that this login may read).

    A contract that this image doesn't know came after its head, and breaks it; announced is as good as done, because
    it may be done a moment later. Expands that it doesn't know change nothing for it.
    """
    if rows is None:
        return GateVerdict(
            "waiting",
            "LedgerMissing",
            "The database has no ledger that this login may read yet; `slipway db upgrade` makes it.",
        )
    ledger = {row.revision: row for row in rows}
    breaking = [row for row in ledger.values() if row.kind == "contract" and row.revision not in chain]
    for row in breaking:
        if row.applied:
            return GateVerdict(
                "refused",
                "ContractApplied",
                f"Contract {row.revision} of a later release was applied: this image can't work with the schema any "
                "more. Start that release or a newer one.",
            )
    for row in breaking:
        if row.announced:
            return GateVerdict(
                "refused",
                "ContractAnnounced",
                f"Contract {row.revision} of a later release was announced and may be applied at any moment: start "
                "that release or a newer one.",
            )
    needs = chain.needs
    if needs is not None and (needs not in ledger or not ledger[needs].applied):
        return GateVerdict(
            "waiting", "RevisionMissing", f"Revision {needs}, which this image needs, isn't applied yet."
        )
    return GateVerdict("open", "SchemaReady", "The schema has what this image needs.")


async def look_at_gate(database: Database, versions: Path = VERSIONS) -> GateVerdict:
    """Read the ledger by the service's own pool and decide. Raises OSError or SQLAlchemy's errors."""

    async def rows(session: AsyncSession) -> list[LedgerRow] | None:
        if not await session.scalar(text(READABLE)):
            return None
        return [LedgerRow(*row) for row in await session.execute(text(READ_ROWS))]

    return decide_gate(read_chain(versions), await database.read(rows))
