"""What tests need and takes minutes the first time: made before the first of them, whose own time is bounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial

from cluster import binaries, golang, own, provider
from cluster.images import base, build, buildah, registry
from cluster.images.store import one_at_a_time
from cluster.progress import Progress
from cluster.settings import Settings


def prepare(fixtures: Collection[str], settings: Settings, progress: Progress) -> None:
    """Everything that tests with these fixtures need. Raises ClusterError with the last lines of what failed."""
    golang.toolchain(golang.required(binaries.TOOLS.folder), settings.cache, progress)
    binaries.ensure(binaries.TOOLS, settings.cache, progress)  # Helm renders without a cluster too
    for fixture, step in STEPS.items():
        if fixture in fixtures:
            step(settings, progress)


def _cluster(settings: Settings, progress: Progress) -> None:
    if provider.selected(settings, os.environ) == "own":
        _own_cluster(settings, progress)
    else:
        binaries.ensure(binaries.KUBERNETES, settings.cache, progress)  # for kubectl


def _own_cluster(settings: Settings, progress: Progress) -> None:
    own.gather(settings, progress)


def _images(_: Settings, progress: Progress) -> None:
    for name in base.IMAGES:
        with progress.step(f"image {base.IMAGES[name]}"):
            base.base_archive(name)
    makers: dict[str, Callable[[], object]] = {
        "Slipway": build.build,
        "Slipway's next release": partial(build.build, tag="slipway:0.1.0-next", version="0.1.0-next"),
        "Slipway for development": partial(build.build, "dev", tag="slipway:dev"),
        "the operator": partial(build.build, "operator", build.OPERATOR_TAG),
        "another service": build.build_foreign,
    }
    for what, make in makers.items():
        with progress.step(f"image of {what}"):
            make()


def _buildah(_: Settings, progress: Progress) -> None:
    buildah.ensure()
    with one_at_a_time(), progress.step("base image for buildah"):
        base.ensure_in_buildah(base.PYTHON)


def _registry(_: Settings, progress: Progress) -> None:
    registry.ensure(progress)


STEPS: dict[str, Callable[[Settings, Progress], None]] = {
    "cluster": _cluster,
    "own_cluster": _own_cluster,
    "builder": _images,
    "buildah_here": _buildah,
    "registry": _registry,
}
