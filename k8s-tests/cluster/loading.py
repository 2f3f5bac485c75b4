"""Images for containerd: an archive that it has already isn't unpacked again, which takes seconds for each."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.commands import run
from cluster.settings import Settings

IMPORT_SECONDS = 300.0
SHORT_NAMES = "docker.io/library/"
"""What containerd puts before a name without a registry."""


def load_image(settings: Settings, archive: Path) -> None:
    """Give containerd the images of an archive (Docker's or OCI's), under the names that it carries."""
    wanted = images_in(archive)
    if not wanted or loaded(settings, wanted) != wanted:
        _ctr(settings, "images", "import", archive)


def loaded(settings: Settings, names: Collection[str]) -> dict[str, str]:
    """Those of the names that containerd knows → the image's id."""
    rows = [line.split() for line in _ctr(settings, "images", "list").splitlines()[1:]]
    manifests = {name: digest for name, _, digest, *_ in rows if name in names}
    contents = {name: json.loads(_ctr(settings, "content", "get", digest)) for name, digest in manifests.items()}
    return {name: content.get("config", {}).get("digest", "") for name, content in contents.items()}


@contextmanager
def pulled_as(settings: Settings, image: str, repository: str) -> Iterator[str]:
    """While it lasts, the node reports an image as pulled from that repository, which it is told: the id it reports."""
    rows = [line.split() for line in _ctr(settings, "images", "list").splitlines()[1:]]
    name = f"{repository}@{next(digest for found, _, digest, *_ in rows if found == _full(image))}"
    _ctr(settings, "images", "tag", "--force", _full(image), name)
    try:
        yield name
    finally:
        _ctr(settings, "images", "remove", name)


def _ctr(settings: Settings, *arguments: str | Path) -> str:
    command = ("ctr", f"--address={settings.containerd_socket}", "--namespace=k8s.io")
    return run([*command, *arguments], timeout=IMPORT_SECONDS)


def images_in(archive: Path) -> dict[str, str]:
    """Full name → id of each image in a Docker archive; nothing for an OCI archive. An id stands for every byte."""
    with tarfile.open(archive) as opened:
        try:
            manifest: list[dict[str, Any]] = json.loads(_content(opened, "manifest.json"))
        except KeyError:
            return {}
        return {
            _full(name): f"sha256:{hashlib.sha256(_content(opened, image['Config'])).hexdigest()}"
            for image in manifest
            for name in image["RepoTags"]
        }


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    """KeyError when there is no such file."""
    file = archive.extractfile(name)
    return b"" if file is None else file.read()


def _full(name: str) -> str:
    host, slash, _ = name.partition("/")
    return name if slash and ("." in host or ":" in host) else SHORT_NAMES + name
