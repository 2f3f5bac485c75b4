"""Draws faults by chance, tries each, and says how many no test noticed.

python -m mutants [--count 50] [--seed 1] [--since REVISION] [--write docs/testing.md]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

from mutants.covering import Covering, FailingError, measured
from mutants.faults import Fault, faults, touched
from mutants.trying import Verdict, tried

ROOT = Path(__file__).parents[2]
HALVES = ("service", "operator")
LEFT_OUT = ("migrations/versions/", "/crds/")
WORKERS = 2
TABLE = "<!-- the last run; `make prove` writes it -->"

Drawn = tuple[str, Fault]


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def sources(half: str) -> list[str]:
    listed = git("ls-files", half).split()
    return [path for path in listed if path.endswith(".py") and not any(part in path for part in LEFT_OUT)]


def drawn(count: int, seed: int, since: str | None) -> list[Drawn]:
    """Half of them from each half of the project, in lines that changed since a revision, or in all."""
    lines = set(touched(git("diff", "--unified=0", since, "--", *HALVES))) if since else None
    dice = random.Random(seed)  # noqa: S311 - a seed that can be told
    found: list[Drawn] = []
    for half in HALVES:
        places = [(path, fault) for path in sources(half) for fault in faults((ROOT / path).read_bytes())]
        fitting = [each for each in places if lines is None or (each[0], each[1].line) in lines]
        found += dice.sample(fitting, min(count // 2, len(fitting)))
    return found


def copied(folder: Path) -> Path:
    """What git tracks, as it lies here."""
    root = folder / "tree"
    for path in git("ls-files").splitlines():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    return root


def verdicts(places: list[Drawn]) -> list[Verdict]:
    """In their order. Raises FailingError."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        roots = [copied(Path(folder, str(number))) for number in range(WORKERS)]
        covering = Covering(roots[0], measured(roots[0]))
        for root in roots:
            free.put(root)

        def one(place: Drawn) -> Verdict:
            path, fault = place
            mine = free.get()
            file = mine / path
            source = file.read_bytes()
            try:
                file.write_bytes(fault.put_into(source))
                verdict = tried(mine, covering.tests(path, fault.line))
            finally:
                file.write_bytes(source)
                free.put(mine)
            print(f"{verdict:9} {path}:{fault.line}: {fault.what}", flush=True)
            return verdict

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(one, places))


def told(places: list[Drawn], results: list[Verdict], options: argparse.Namespace) -> str:
    """The table, and every survivor."""
    day = datetime.now(UTC).date()
    lines = ["| Half | Faults | Noticed | Score |", "| --- | ---: | ---: | ---: |"]
    survivors: list[str] = []
    for half in HALVES:
        of = [(place, result) for place, result in zip(places, results, strict=True) if place[0].startswith(half)]
        noticed = sum(result == "noticed" for _, result in of)
        lines.append(f"| {half} | {len(of)} | {noticed} | {100 * noticed / max(1, len(of)):.0f} % |")
        survivors += [f"- `{path}:{fault.line}`: {fault.what}" for (path, fault), result in of if result == "survived"]
    since = f" in lines changed since {options.since}" if options.since else ""
    head = f"Drawn with seed {options.seed}{since}, {day}."
    return "\n".join([head, "", *lines, "", "Survivors:" if survivors else "No survivors.", *survivors])


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--since", help="only lines that changed since this revision")
    parser.add_argument("--write", type=Path, help="page whose table is written anew")
    options = parser.parse_args()
    places = drawn(options.count, options.seed, options.since)
    if not places:
        print("no place to put a fault into", file=sys.stderr)
        return 1
    try:
        text = told(places, verdicts(places), options)
    except FailingError as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    if options.write:
        page = options.write.read_text()
        head, mark, _ = page.partition(TABLE)
        options.write.write_text(f"{head}{mark or TABLE}\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
