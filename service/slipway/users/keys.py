"""The periodic job that gives addresses their keys: those that an earlier release wrote, or changed, in a rollout too.

Where two people's addresses have one key, the older user's gets it. The other is found as before, in any case that
PostgreSQL knows, and both are named in the log until one of them has another address.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from slipway.jobs.kinds import Job
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.unit import Transaction
from slipway.users import queries
from slipway.users.queries import Unkeyed

JOB = "key_addresses"
KEY = Action("users", "key_addresses")
BATCH = 500
NAMED_AT_MOST = 20

log = logging.getLogger("slipway.users")


class KeyAddresses:
    """Its effect is the same however often it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, _job: Job) -> None:
        shared: dict[UUID, UUID] = {}
        after: UUID | None = None
        while True:
            rows = await self._database.read(partial(queries.unkeyed, after=after, limit=BATCH))
            shared |= await self._key(rows)
            if len(rows) < BATCH:
                break
            after = rows[-1].id
        if shared:
            pairs = [f"{holder} {other}" for other, holder in shared.items()][:NAMED_AT_MOST]
            log.warning("Users have addresses that are one: change one of each pair.", extra={"users": pairs})

    async def _key(self, rows: Sequence[Unkeyed]) -> dict[UUID, UUID]:
        """Who has an address with somebody else's key, and whose it is."""
        firsts = {row.key: row for row in reversed(rows)}

        async def work(transaction: Transaction) -> tuple[list[Unkeyed], dict[str, UUID]]:
            given = set(await queries.set_keys(transaction, list(firsts.values())))
            left = [row for row in rows if row.id not in given]
            holders = await queries.holders(transaction, [row.key for row in left])
            if not given:
                transaction.leave_nothing()
            return left, holders

        if not rows:
            return {}
        left, holders = await self._database.unit(KEY, work)
        return {row.id: holders[row.key] for row in left if holders.get(row.key, row.id) != row.id}
