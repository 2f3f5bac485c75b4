"""Waiting for an event that can only be looked at."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import socket
from collections.abc import Awaitable, Callable
from time import monotonic


async def until(condition: Callable[[], object | Awaitable[object]], within: float = 20.0) -> object:
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


PORTS = (10_000, 30_000)
"""Below those that the kernel gives to whoever asks for any, and those of Kubernetes' services."""
_SIDE_BY_SIDE = 8
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, given to nobody else by up to eight processes of a run side by side."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SIDE_BY_SIDE
    ours = [port for port in range(PORTS[0] + worker, PORTS[1], _SIDE_BY_SIDE) if port not in _given]
    random.SystemRandom().shuffle(ours)
    for port in ours:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("No port is free on 127.0.0.1.")
