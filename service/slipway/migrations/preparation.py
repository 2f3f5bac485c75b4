"""What comes before anything is run or announced: the ledger, the service's rights, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from slipway.migrations import ledger
from slipway.migrations.errors import MigrationError, describe
from slipway.migrations.grants import check_role, grant
from slipway.migrations.offline import refuse_changed
from slipway.migrations.plan import Phase, Steps, decide_steps
from slipway.migrations.script import Chain
from slipway.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What to bring the database to. `expected`: revision → SHA-256 of the SQL that was looked at; empty: anything."""

    target: str = "head"
    phase: Phase = "all"
    expected: Mapping[str, str] | None = None


async def prepare(raw: asyncpg.Connection, settings: Settings, chain: Chain, wish: Wish, versions: Path) -> Steps:
    """Make ledger and rights, adopt what plain Alembic did, and decide what to run; all or nothing.

    Raises MigrationError when the wish can't be followed or this login may not make the ledger.
    """
    if settings.database_grant_to:
        await check_role(raw, settings.database_grant_to)
    try:
        async with raw.transaction():
            await ledger.create(raw)
            heads = await ledger.read_heads(raw)
            rows = await ledger.read_rows(raw) or ()
            steps = decide_steps(chain, heads, rows, target=wish.target, phase=wish.phase)
            refuse_changed(steps.run, wish.expected or {}, versions)
            if all(head in chain for head in heads):
                await ledger.correct(raw, ledger.compare(chain, chain.reached(heads), rows))
            if settings.database_grant_to:
                await grant(raw, settings.database_grant_to)
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"This login can't keep the ledger of schema changes: {describe(error)}. Log in as the schema's owner.",
            reason="RoleUnfit",
        ) from error
    return steps
