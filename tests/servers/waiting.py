"""Waiting for an event that can only be looked at."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable
from time import monotonic


async def until(condition: Callable[[], object | Awaitable[object]], within: float = 5.0) -> object:
    """Look every 20 ms until `condition` is truthy; fails after `within` seconds."""
    end = monotonic() + within
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if monotonic() > end:
            raise AssertionError(f"Not seen within {within} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.02)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
