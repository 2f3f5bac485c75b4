"""Runs tests against a copy of the tree with one fault in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NAMED_SECONDS, REST_SECONDS = 240.0, 1200.0
"""A run that takes longer hangs by the fault: that is noticed, too."""
ALONE = "tests/unit/operator/exploration"

Verdict = Literal["noticed", "survived"]


@dataclass(frozen=True)
class Tests:
    """Those that name the module run first; most faults end there."""

    named: tuple[str, ...]
    rest: tuple[str, ...]


def relevant(root: Path, path: str) -> Tests:
    """The unit and integration tests of the half that a source file belongs to."""
    half, module = path.split("/", 1)
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package, _, name = dotted.rpartition(".")
    files = [
        file for folder in ("tests/unit", "tests/integration") for file in sorted((root / folder).rglob("test_*.py"))
    ]
    found = [(str(file.relative_to(root)), file.read_text()) for file in files]
    ours = [
        (file, text) for file, text in found if ("slipway_operator" in text or "plain_" in text) == (half == "operator")
    ]
    words = (dotted, f"from {package} import {name}", f"{package} import (", f" {name} import ")
    named = [file for file, text in ours if any(word in text for word in words[:2]) or f" {name}." in text]
    rest = [file for file, _ in ours if file not in named]
    return Tests(tuple(named), tuple(rest))


def tried(root: Path, tests: Tests) -> Verdict:
    """Whether a test of the copy at `root` notices."""
    quick = [file for file in tests.named if ALONE not in file]
    slow = [file for file in tests.named if ALONE in file]
    for files, seconds in ((quick, NAMED_SECONDS), ([*tests.rest, *slow], REST_SECONDS)):
        if files and not passes(root, files, seconds):
            return "noticed"
    return "survived"


def passes(root: Path, files: Sequence[str], seconds: float) -> bool:
    """Whether these tests pass on the copy; its code goes before that of the virtual environment."""
    environment = {**os.environ, "PYTHONPATH": f"{root}/service:{root}/operator", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *files]
    process = subprocess.Popen(
        words, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        # What tests started goes with them, also where a fault keeps them from ending it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
