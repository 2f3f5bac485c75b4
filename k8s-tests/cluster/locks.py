"""Locks between processes that share a cluster or a cache; the kernel lets go when a process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from cluster.errors import ClusterError

PAUSE = 0.2


class LockedError(ClusterError):
    """Another process held a lock for longer than we wait."""


@contextmanager
def exclusive(path: Path, within: float) -> Iterator[None]:
    """Nobody else holds the lock inside; LockedError after `within` seconds of waiting."""
    with _held(path, fcntl.LOCK_EX, within):
        yield


@contextmanager
def shared(path: Path, within: float) -> Iterator[None]:
    """Others may hold the lock this way too, but nobody exclusively."""
    with _held(path, fcntl.LOCK_SH, within):
        yield


@contextmanager
def _held(path: Path, mode: int, within: float) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    end = monotonic() + within
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > end:
                    raise LockedError(f"{path}: another process held this lock for {within:g} s") from None
                sleep(PAUSE)
        yield
