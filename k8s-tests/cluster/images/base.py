"""The images that others are built from or that the chart's demo names.

They are pulled where a registry answers. Elsewhere stand-ins under the very same names are made of Debian's packages
(stand_ins/), so that Dockerfile and chart are used unmodified.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError
from cluster.images import buildah, docker
from cluster.images.store import content_hash, files_below, images_folder, keep_newest, made_once, one_at_a_time

PYTHON, POSTGRES, REDIS = "python", "postgres", "redis"

IMAGES = {
    PYTHON: "docker.io/library/python:3.13-slim",
    POSTGRES: "docker.io/library/postgres:17",
    REDIS: "docker.io/library/redis:8",
}

SUITE = "trixie"
"""The Debian release that the official images are made from too."""

STAND_INS = Path(__file__).parent / "stand_ins"
APT_SOURCES = Path("/etc/apt")
DEBOOTSTRAP_TIMEOUT = 900.0


class NoBaseImageError(ClusterError):
    """A base image can neither be pulled nor made here; the sentence says what is missing."""


def base_archive(name: str) -> Path:
    """A docker-archive of the base image `python`, `postgres` or `redis`, under its official name.

    Raises NoBaseImageError, or CommandError when a pull or a build breaks off.
    """
    with one_at_a_time():
        if docker.available():
            path = images_folder() / f"{name}-{docker.pulled(IMAGES[name])[:12]}.tar"
            return made_once(path, lambda unfinished: docker.save(IMAGES[name], unfinished))
        path = images_folder() / f"{name}-{ensure_in_buildah(name)[:12]}.tar"
        made = made_once(path, lambda unfinished: buildah.push_archive(IMAGES[name], unfinished))
        keep_newest(images_folder(), f"{name}-????????????.tar", 2)
        return made


def ensure_in_buildah(name: str) -> str:
    """Have the base image in buildah's storage, pulled or else a stand-in, and return its id; raises as above."""
    buildah.ensure()
    pulled, stand_in = f"localhost/pulled-{name}:1", f"localhost/stand-in-{name}:{_stand_in_hash(name)}"
    source = next((tag for tag in (pulled, stand_in) if buildah.image_id(tag)), None)
    if source is None and buildah.pull(IMAGES[name]):
        buildah.tag(IMAGES[name], pulled)
    elif source is None:
        buildah.build(
            STAND_INS / name,
            stand_in,
            arguments={"DEBIAN": _debian()},
        )
        buildah.tag(stand_in, IMAGES[name])
    else:
        buildah.tag(source, IMAGES[name])
    return buildah.image_id(IMAGES[name]) or ""


def _stand_in_hash(name: str) -> str:
    return content_hash(STAND_INS, files_below([STAND_INS / name]), SUITE)


def _debian() -> str:
    """The image of a minimal Debian that the stand-ins start from; made by debootstrap when it isn't there."""
    image = f"localhost/stand-in-debian:{SUITE}"
    if buildah.image_id(image) is None:
        mirror = debian_mirror(APT_SOURCES)
        with tempfile.TemporaryDirectory(dir=images_folder()) as folder:
            arguments = ["--variant=minbase", "--include=ca-certificates", SUITE, folder, mirror]
            run(["debootstrap", *arguments], timeout=DEBOOTSTRAP_TIMEOUT)
            _slim(Path(folder))
            buildah.import_root(Path(folder), image)
    return image


def _slim(root: Path) -> None:
    """Drop what Debian's official slim images lack too: packages' archives, lists, documentation, translations."""
    for folder in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        for entry in (root / folder).glob("*"):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def debian_mirror(sources: Path) -> str:
    """The Debian archive that this machine's apt uses, by its sources.list or *.sources. Raises NoBaseImageError."""
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for file in files:
        for word in file.read_text(encoding="utf-8").split() if file.is_file() else []:
            if "://" in word and word.rstrip("/").endswith("/debian"):
                return word
    raise NoBaseImageError(
        "No registry answers, and apt's sources name no Debian archive to make the base images from: "
        "start docker, or log in to a registry that has them."
    )
