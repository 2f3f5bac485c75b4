"""Keeps a login's change of the database and the start of a migration's Job apart, within one operator.

Whoever holds the lock lists what runs and then acts; so neither begins between the other's look and its act. Two
operators never serve one namespace: that is what the lease is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Exclusion:
    """One lock a namespace, kept only while somebody holds or awaits it. What is done under it has timeouts."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def held(self, namespace: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(namespace, (asyncio.Lock(), 0))
        self._locks[namespace] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[namespace][1] - 1
            if users:
                self._locks[namespace] = (lock, users)
            else:
                del self._locks[namespace]
