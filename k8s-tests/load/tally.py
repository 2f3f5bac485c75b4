"""Counts of the load generator."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from dataclasses import dataclass, field

SHOWN_FAILURES = 20


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    started: float
    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    failures: list[dict[str, object]] = field(default_factory=list)
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def fail(self, kind: str, connection: str, error: str) -> None:
        self.failed[kind] += 1
        if len(self.failures) < SHOWN_FAILURES:
            at = round(asyncio.get_running_loop().time() - self.started, 2)
            self.failures.append({"second": at, "kind": kind, "connection": connection, "error": error})

    def line(self) -> str:
        return f"requests {self.requests.total()} failed {self.failed.total()}"

    def latency(self) -> dict[str, float]:
        """Milliseconds, of answered requests."""
        ordered = sorted(self.latencies) or [0.0]
        picked = {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100], "max": ordered[-1]}
        return {name: round(seconds * 1000, 1) for name, seconds in picked.items()}
