"""Mounted files that reload themselves: keys and database credentials.

Folders are looked at by content, not by time stamps, so that a swapped `..data` link (Kubernetes), an overwrite and a
rename all count. Failure policy: a set that can't be read, doesn't parse or can't be applied is refused and the last
good one stays in force; it is logged once and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

from slipway.telemetry.registry import REGISTRY

T = TypeVar("T")
Files = Mapping[str, bytes]

MAX_BYTES = 1024 * 1024
"""Largest file read; a Kubernetes Secret can't be larger either."""

MAX_FILES = 64

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0
"""Seconds until the same refused set is tried again: the first time, and at most."""

RELOADS = Counter(
    "slipway_file_reloads_total",
    "Changed sets of mounted files, by whether they were taken into use.",
    ("set", "result"),
    registry=REGISTRY,
)

logger = logging.getLogger("slipway.files")


class FilesError(ValueError):
    """A folder can't be read, or its files don't make what they should. The message never shows their content."""


def read_folder(folder: Path) -> dict[str, bytes]:
    """The visible files of a folder by name.

    Kubernetes keeps a set in a folder of its own and swaps the link `..data` to it: following that link once gives
    all files of one set, never the key of yesterday beside the id of today. Raises FilesError.
    """
    try:
        generation = (folder / "..data").resolve()
        source = generation if generation.is_dir() else folder
        paths = sorted(path for path in source.iterdir() if not path.name.startswith(".") and path.is_file())
        if len(paths) > MAX_FILES:
            raise FilesError(f"{folder} holds {len(paths)} files; at most {MAX_FILES} are read.")
        return {path.name: read_file(path) for path in paths}
    except OSError as error:
        raise FilesError(f"{folder} can't be read: {type(error).__name__}.") from None


def read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise FilesError(f"{path} is larger than {MAX_BYTES} bytes.")
    return content


def is_swapped_as_a_whole(folder: Path) -> bool:
    """Whether sets come through a `..data` link, and so are complete as soon as they are seen."""
    return (folder / "..data").exists()


def _digest(files: Files) -> bytes:
    digest = hashlib.sha256()
    for name, content in files.items():
        # A name needn't be UTF-8; Python then carries its bytes as half surrogates.
        digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.digest()


class WatchedFolder(Generic[T]):
    """A folder and what its files mean; `accepted` is the last good set.

    `parse` is pure and raises FilesError for a set that is no good. `apply` takes a new set into use; when it raises,
    the set is refused and tried again after a pause that doubles (a server may lock a login that fails twice a second),
    or as soon as the files change. The first set is read when this is made, and its errors are
    raised: a process without keys must not start.
    """

    def __init__(
        self, name: str, folder: Path, parse: Callable[[Files], T], apply: Callable[[T], Awaitable[None]] | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self._parse = parse
        self._apply = apply
        files = read_folder(folder)
        self.accepted: T = parse(files)
        self._accepted_digest = _digest(files)
        self._seen_digest = self._accepted_digest
        self._refused_digest: bytes | None = None
        self._pause = FIRST_PAUSE
        self._again_at = 0.0
        for result in ("accepted", "refused"):
            RELOADS.labels(name, result)

    async def look(self) -> bool:
        """Read the folder once; True when a new set was taken into use."""
        try:
            files = read_folder(self.folder)
        except FilesError as error:
            self._refuse(b"", error)
            return False
        digest = _digest(files)
        settled = digest == self._seen_digest or is_swapped_as_a_whole(self.folder)
        self._seen_digest = digest
        if digest == self._accepted_digest:
            self._refused_digest = None
            return False
        if digest == self._refused_digest and monotonic() < self._again_at:
            return False
        # Files written one by one may be between two sets although each parses: only what two looks agree on counts.
        return settled and await self._take(files, digest)

    async def _take(self, files: Files, digest: bytes) -> bool:
        try:
            value = self._parse(files)
            if self._apply is not None:
                await self._apply(value)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new set, the last good one stays
            self._put_off(digest)
            self._refuse(digest, error)
            return False
        self.accepted, self._accepted_digest, self._refused_digest = value, digest, None
        RELOADS.labels(self.name, "accepted").inc()
        logger.info("New files are in use.", extra={"set": self.name})
        return True

    def _put_off(self, digest: bytes) -> None:
        self._pause = min(self._pause * 2, LONGEST_PAUSE) if digest == self._refused_digest else FIRST_PAUSE
        self._again_at = monotonic() + self._pause

    def _refuse(self, digest: bytes, error: Exception) -> None:
        if digest == self._refused_digest:
            return
        self._refused_digest = digest
        RELOADS.labels(self.name, "refused").inc()
        # Only our own errors are sure not to quote what they read.
        reason = str(error) if isinstance(error, FilesError) else type(error).__name__
        logger.error(
            "New files were refused; the last good ones stay in use.", extra={"set": self.name, "reason": reason}
        )


class Watcher:
    """Looks at each folder every `interval` seconds until it is stopped, in a task of its own.

    So a database that takes its time over a new login doesn't keep new keys waiting.
    """

    def __init__(self, interval: float, folders: Sequence[WatchedFolder[Any]]) -> None:
        self._interval = interval
        self._folders = folders
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(folder), name=f"slipway-files-{folder.name}") for folder in self._folders
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _follow(self, folder: WatchedFolder[Any]) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await folder.look()
            except Exception:
                # Whatever it was, later files must still be seen.
                logger.exception("A folder could not be looked at.", extra={"set": folder.name})
