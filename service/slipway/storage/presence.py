"""Whether PostgreSQL is there, as a gauge: whoever connects in vain notices, and somebody asks until it is back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import Context

from slipway.telemetry.registry import DEGRADED

PAUSE = 2.0
"""Seconds between two questions while it is away: without requests nobody else would find out that it is back."""

_DEGRADED = DEGRADED.labels("postgresql")
_DEGRADED.set(0)


class Presence:
    """`ask` raises as long as the database is away; it is called in the background, and only then."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None

    def away(self) -> None:
        """Somebody couldn't connect."""
        if self._asking is None:
            _DEGRADED.set(1)
            # Not within the request that noticed: its deadline and its span are no business of this.
            self._asking = asyncio.get_running_loop().create_task(self._ask_until_back(), context=Context())

    async def _ask_until_back(self) -> None:
        while self._asking is not None:
            await asyncio.sleep(PAUSE * random.uniform(0.5, 1.0))  # noqa: S311 - spreads pods
            try:
                await self._ask()
            except Exception:  # noqa: BLE001, S112 - whatever it is, requests and worker say it in their own words
                continue
            self._asking = None
            _DEGRADED.set(0)

    async def close(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            _DEGRADED.set(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
