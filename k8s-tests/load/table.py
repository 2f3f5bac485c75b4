"""The table of what a load saw, between two marks of a document, with date and machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from load.harness import Outcome

HEADINGS = ("Scenario", "Rate", "Requests", "Failed", "Repeated", "p50", "p99", "Slowest")


@dataclass(frozen=True)
class Row:
    scenario: str
    rate: float
    outcome: Outcome

    def cells(self) -> tuple[str, ...]:
        outcome, latency = self.outcome, self.outcome.latency
        counted = (f"{self.rate:g}/s", f"{outcome.requests:,}", f"{outcome.failed:,}", f"{outcome.retried:,}")
        return (self.scenario, *counted, *(f"{latency[name]:,.0f} ms" for name in ("p50", "p99", "max")))


def write(document: Path, rows: list[Row], name: str = "measured") -> None:
    """Replace what is between the marks of that name; ValueError where they are missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"{document.name} has no place for the table: {begin} and {end}")
    table = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(row.cells() for row in rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    document.write_text("\n".join([before + begin, *lines, "", _machine(), end + after]), encoding="utf-8")


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, shared by cluster, database, pods and load. {datetime.now(UTC):%Y-%m-%d}."
