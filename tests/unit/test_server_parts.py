"""What runs side by side in a process: it ends together, and none ends unnoticed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from slipway.server import _Parts


class Part:
    """Runs until it is told to stop, or until it fails."""

    def __init__(self, others: list[Part], fails: Exception | None = None) -> None:
        self.others = others
        others.append(self)
        self.stopping = asyncio.Event()
        self.fails = fails

    async def run(self) -> None:
        if self.fails is not None:
            raise self.fails
        await asyncio.gather(*(part.stopping.wait() for part in self.others if part.fails is None))

    async def stop(self) -> None:
        self.stopping.set()


async def test_parts_are_told_to_end_at_the_same_time() -> None:
    parts, running = _Parts(asyncio.Event()), list[Part]()
    for _ in range(3):
        parts.add_worker(cast("Any", Part(running)))
    # Each waits until all were told: one after another would never end.
    await asyncio.wait_for(parts.end(), 5)


async def test_a_part_that_ends_by_itself_ends_the_process_with_its_error() -> None:
    stop = asyncio.Event()
    parts, running = _Parts(stop), list[Part]()
    parts.add_worker(cast("Any", Part(running)))
    parts.add_worker(cast("Any", Part(running, RuntimeError("gone"))))
    await asyncio.wait_for(stop.wait(), 5)
    with pytest.raises(RuntimeError, match="gone"):
        await asyncio.wait_for(parts.end(), 5)
