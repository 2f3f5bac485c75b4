"""Runs tests against a copy of the tree with one fault in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mutants.covering import Chosen

TRIED_SECONDS = 1200.0
"""A run that takes longer hangs by the fault: that is noticed, too."""

Verdict = Literal["noticed", "survived"]


def tried(root: Path, tests: Chosen) -> Verdict:
    """Whether a test of the copy at `root` notices."""
    noticed = any(files and not passes(root, files, TRIED_SECONDS) for files in (tests.covering, tests.rest))
    return "noticed" if noticed else "survived"


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
