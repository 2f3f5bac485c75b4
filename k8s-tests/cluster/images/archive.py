"""Reads a docker-archive without any container program: its configuration, and the files that a container would see."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True)
class Entry:
    """A file, folder or link of the image as its last layer left it."""

    layer: int
    kind: str
    """`file`, `folder`, `link` or `other`."""
    size: int
    mode: int
    owner: int


@dataclass(frozen=True)
class Image:
    """An archive's image. `files` is by absolute path; `sizes` are bytes of files in each layer, lowest first."""

    archive: Path
    name: str
    configuration: dict[str, Any]
    sizes: tuple[int, ...]
    files: dict[PurePosixPath, Entry]

    @property
    def settings(self) -> dict[str, Any]:
        """User, Env, Cmd, Healthcheck, Labels and the like, as docker spells them."""
        found: dict[str, Any] = self.configuration["config"]
        return found

    @property
    def layers(self) -> tuple[str, ...]:
        """The digests of the layers' contents, lowest first."""
        return tuple(self.configuration["rootfs"]["diff_ids"])

    def size_above(self, base: Image) -> int:
        """Bytes that this image's layers add to `base`; ValueError when it doesn't start from it."""
        if self.layers[: len(base.layers)] != base.layers:
            raise ValueError(f"{self.name} doesn't start from {base.name}.")
        return sum(self.sizes[len(base.layers) :])

    def contents(self, paths: list[PurePosixPath]) -> dict[PurePosixPath, bytes]:
        """The bytes of these files; each layer is read once."""
        wanted: dict[int, set[PurePosixPath]] = {}
        for path in paths:
            wanted.setdefault(self.files[path].layer, set()).add(path)
        found: dict[PurePosixPath, bytes] = {}
        for number, layer in enumerate(_layers(self.archive)):
            if number not in wanted:
                continue
            for member in layer:
                path = _path(member)
                file = layer.extractfile(member) if path in wanted[number] else None
                if file is not None:
                    found[path] = file.read()
        return found


def read_image(archive: Path) -> Image:
    """The image of a docker-archive (docker's or buildah's). Raises KeyError or tarfile.TarError for anything else."""
    files: dict[PurePosixPath, Entry] = {}
    sizes = []
    for number, layer in enumerate(_layers(archive)):
        sizes.append(_lay(files, number, layer))
    with tarfile.open(archive) as outer:
        manifest = _manifest(outer)
        configuration = json.load(_member(outer, manifest["Config"]))
    return Image(archive, manifest["RepoTags"][0], configuration, tuple(sizes), files)


def _lay(files: dict[PurePosixPath, Entry], number: int, layer: tarfile.TarFile) -> int:
    """Put a layer over what lies below, with its deletions; returns the bytes of its files."""
    size = 0
    added: dict[PurePosixPath, Entry] = {}
    for member in layer:
        path = _path(member)
        if path.name == OPAQUE:
            _remove(files, path.parent, itself=False)
        elif path.name.startswith(WHITEOUT):
            _remove(files, path.with_name(path.name.removeprefix(WHITEOUT)), itself=True)
        else:
            added[path] = Entry(number, _kind(member), member.size, member.mode, member.uid)
            size += member.size
    files.update(added)
    return size


def _remove(files: dict[PurePosixPath, Entry], path: PurePosixPath, *, itself: bool) -> None:
    for below in [known for known in files if path in known.parents or (itself and known == path)]:
        del files[below]


def _kind(member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "folder"
    if member.isfile():
        return "file"
    return "link" if member.issym() or member.islnk() else "other"


def _path(member: tarfile.TarInfo) -> PurePosixPath:
    return PurePosixPath("/") / member.name.removeprefix("./").lstrip("/")


def _layers(archive: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(archive) as outer:
        for name in _manifest(outer)["Layers"]:
            with tarfile.open(fileobj=_member(outer, name)) as layer:
                yield layer


def _manifest(outer: tarfile.TarFile) -> dict[str, Any]:
    first: dict[str, Any] = json.load(_member(outer, "manifest.json"))[0]
    return first


def _member(outer: tarfile.TarFile, name: str) -> IO[bytes]:
    file = outer.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file
