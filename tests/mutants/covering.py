"""Which tests run a line: measured once, on the code as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

MEASURED_SECONDS = 2400.0
APART = "tests/unit/operator/exploration"
"""Explorations take minutes and run every line of a decision; they are tried last."""
MANY = 150
"""With so many tests that run a line, whole files are named instead."""
MOUNTED = "plain_alembic"
"""Runs in processes of its own, in images of others."""
ELSEWHERE = re.compile(r"\b(?:subprocess|sys\.executable|openpty|forkpty)\b")
"""In the text of a test file that may start the code in another process, where nothing is measured."""


READING = re.compile(r"^(?:import|from) (?:ast|limits)\b", re.MULTILINE)
"""In that of one that reads the code as text."""


class FailingError(Exception):
    """The tests fail without any fault: then nothing would be shown."""


@dataclass(frozen=True)
class Chosen:
    """What pytest is called with: those that run the line, then those that might otherwise notice."""

    covering: tuple[str, ...]
    rest: tuple[str, ...]


class Covering:
    """`data` is what `measured` returned for the copy at `root`."""

    def __init__(self, root: Path, data: CoverageData) -> None:
        self._data = data
        found = [path for folder in ("unit", "integration") for path in (root / "tests" / folder).rglob("test_*.py")]
        self._files = {str(path.relative_to(root)): path.read_text() for path in sorted(found)}

    def tests(self, path: str, line: int) -> Chosen:
        """A line that only an import runs is covered by whoever runs another one of its file, or imports it by name."""
        contexts = self._data.contexts_by_lineno(path)
        running = named(contexts.get(line, []))
        if not running:
            running = {node.partition("::")[0] for each in contexts.values() for node in named(each)}
            running |= {file for file, text in self._files.items() if _imports(path, text)}
        if len(running) > MANY:
            running = {node.partition("::")[0] for node in running}
        module = Path(path).stem
        others = {file for file, text in self._files.items() if _may_notice(path, file, text)}
        # Chosen that name the module notice most faults, and small files are quick.
        nearest = sorted(running, key=lambda node: (module not in self._files[node.partition("::")[0]], node))
        return Chosen(tuple(nearest), tuple(sorted(others - running, key=lambda file: (APART in file, file))))


def _imports(path: str, text: str) -> bool:
    """Whether a test file's text names the module at `path`: what it defines may be all that the test looks at."""
    package, _, module = path.removesuffix(".py").removesuffix("/__init__").partition("/")[2].rpartition("/")
    return re.search(rf"\b{package.replace('/', '.')}(?:\.| import (?:.*\b)?){module}\b", text) is not None


def _may_notice(path: str, file: str, text: str) -> bool:
    """Whether a test file may run or read the code at `path` though nothing was measured."""
    if READING.search(text):
        return True
    if MOUNTED in path:
        return MOUNTED in text or "plain_" in text
    package = re.search(rf"\b{path.split('/')[1]}\b", text)  # slipway isn't slipway_operator
    return package is not None and (APART in file or ELSEWHERE.search(text) is not None)


def named(contexts: Iterable[str]) -> set[str]:
    """The tests that contexts name: `file::test|run`, or nothing where an import ran the line."""
    return {context.partition("|")[0] for context in contexts if "::" in context}


def measured(root: Path) -> CoverageData:
    """Runs the unit and integration tests of the copy at `root`. Raises FailingError."""
    data, settings = root / "coverage.data", root / "coverage.ini"
    settings.write_text("[run]\nrelative_files = true\nconcurrency = thread,greenlet\n")
    environment = {**os.environ, "PYTHONPATH": f"{root}/service:{root}/operator", "COVERAGE_FILE": str(data)}
    words = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-n", "2"]
    words += ["--dist=loadfile", "--cov=service/slipway", "--cov=operator/slipway_operator", "--cov-context=test"]
    words += ["--cov-report=", f"--cov-config={settings}", f"--ignore-glob={root}/{APART}*", "tests/unit"]
    words += ["tests/integration"]
    run = subprocess.run(
        words, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=MEASURED_SECONDS
    )
    if run.returncode:
        raise FailingError(f"the tests fail as it is, mend that first:\n{run.stdout[-2000:]}")
    found = CoverageData(str(data))
    found.read()
    return found
