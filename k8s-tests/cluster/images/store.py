"""Where images are kept, and how a file there gets its name: by the content of what makes it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cluster.locks import exclusive
from cluster.settings import cache_folder

LONGEST_BUILD = 1800.0
"""Seconds that one process waits for another that builds."""


def images_folder() -> Path:
    folder = cache_folder(os.environ) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Makers of images wait for each other: two processes would build the same thing twice."""
    with exclusive(images_folder() / ".lock", within=LONGEST_BUILD):
        yield


def files_below(folders: Iterable[Path]) -> list[Path]:
    """Every file of these files and folders, sorted; what Python leaves behind when it runs is left out."""
    found: list[Path] = []
    for folder in folders:
        found += [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def content_hash(root: Path, files: Iterable[Path], *words: str) -> str:
    """12 hex digits over the files' paths below `root`, modes and bytes, the words, and the architecture here."""
    digest = hashlib.sha256(platform.machine().encode())
    for word in words:
        digest.update(b"\0word\0" + word.encode())
    for path in files:
        executable = b"x" if os.access(path, os.X_OK) else b"-"
        digest.update(b"\0file\0" + str(path.relative_to(root)).encode() + b"\0" + executable + path.read_bytes())
    return digest.hexdigest()[:12]


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made by `make(unfinished)` when it isn't there; never seen half done, not even after a kill."""
    if not path.exists():
        unfinished = path.with_name(f".{os.getpid()}-{path.name}")
        unfinished.unlink(missing_ok=True)
        try:
            make(unfinished)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def keep_newest(folder: Path, pattern: str, count: int = 4) -> None:
    """Remove older files than the `count` newest: each is as large as an image."""
    newest_first = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[count:]:
        path.unlink()
