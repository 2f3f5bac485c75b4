"""Images of releases that come after this one, for tests: built upon Slipway's own (k8s-tests/releases)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from cluster.commands import run
from cluster.images import buildah, docker
from cluster.images.build import REGISTRY, ROOT, build
from cluster.images.store import content_hash, files_below, images_folder, keep_newest, made_once, one_at_a_time
from cluster.loading import images_in

RELEASES = ROOT / "k8s-tests" / "releases"
BASE = "slipway:0.1.0"
LOAD_TIMEOUT = 300.0

Release = Literal["expanded", "contracted", "skipping", "failing", "forked"]
"""A stage of its Dockerfile."""

NAMES: tuple[Release, ...] = get_args(Release)


def tag(release: Release) -> str:
    return f"slipway:{release}"


def build_release(release: Release) -> Path:
    """A docker-archive of the release as `docker.io/library/slipway:<release>`; raises as `build`."""
    service = build("service", tag=BASE)
    files = files_below([RELEASES, Path(__file__)])
    with one_at_a_time():
        # The name of the service's archive tells its content.
        path = images_folder() / f"release-{release}-{content_hash(ROOT, files, service.name)}.tar"
        make = _with_docker if docker.available() else _with_buildah
        made = made_once(path, lambda unfinished: make(service, release, unfinished))
        keep_newest(images_folder(), f"release-{release}-????????????.tar", 2)
        return made


def _with_docker(service: Path, release: Release, archive: Path) -> None:
    run(["docker", "load", "--quiet", f"--input={service}"], timeout=LOAD_TIMEOUT)
    docker.build(RELEASES, REGISTRY + tag(release), target=release)
    docker.save(REGISTRY + tag(release), archive)


def _with_buildah(service: Path, release: Release, archive: Path) -> None:
    base = REGISTRY + BASE
    # The name may be another content's by now: the archive was made once, and others have been built since.
    if f"sha256:{buildah.image_id(base)}" != images_in(service)[base]:
        buildah.buildah("pull", "--quiet", f"docker-archive:{service}", timeout=LOAD_TIMEOUT)
    buildah.build(RELEASES, REGISTRY + tag(release), target=release)
    buildah.push_archive(REGISTRY + tag(release), archive)
