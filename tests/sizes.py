"""`make sizes`: lines without blanks and comments, and the aims that were set for them. Docstrings count."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINES = ("service/slipway/migrations/", "operator/slipway_operator/migrations/plain_alembic/")
AIMS = {"service": 6800, "engine": 1800, "operator": 5200}


def lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def part_of(path: str) -> tuple[str, str]:
    """Which part a source file belongs to, and which package of it; `.` for what is in none."""
    half, _, *packages, _ = path.split("/")
    return "engine" if path.startswith(ENGINES) else half, packages[0] if packages else "."


def counted(root: Path) -> dict[tuple[str, str], int]:
    """Lines by part and package."""
    found: Counter[tuple[str, str]] = Counter()
    for half in ("service", "operator"):
        for path in (root / half).rglob("*.py"):
            found[part_of(path.relative_to(root).as_posix())] += lines(path.read_text())
    return found


def report(found: dict[tuple[str, str], int]) -> Iterator[str]:
    for part, aim in AIMS.items():
        inner = sorted(((count, name) for (each, name), count in found.items() if each == part), reverse=True)
        yield f"{part}: {sum(count for count, _ in inner)} lines, aim {aim}"
        yield from (f"{count:6} {name}" for count, name in inner)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in report(counted(ROOT)))
