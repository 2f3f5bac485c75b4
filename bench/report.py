"""The table of what was measured, beside what is required and hoped for, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEADINGS = ("Figure", "Measured", "Plain stack", "Required", "Goal")


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    measured: str
    plain: str = ""
    required: str = ""
    goal: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        return self.name, self.measured, self.plain, self.required, self.goal


def as_text(figures: list[Figure]) -> str:
    rows = [HEADINGS, *(figure.cells for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def as_markdown(figures: list[Figure]) -> str:
    rows = [HEADINGS, ("---", "---:", "---:", "---:", "---:"), *(figure.cells for figure in figures)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def machine(connections: int) -> str:
    """Where and how: a sentence or two to stand below the table."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. "
        "One process of each service, pinned to one core; the load generator "
        f"({connections} connections), PostgreSQL, Redis and the collector share the other core"
        f"{'s' if (os.cpu_count() or 2) > 2 else ''}. Ratios are medians of pairs loaded in turns."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
