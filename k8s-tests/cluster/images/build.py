"""Builds Slipway's image, and the tiny other one of the tests: docker-archives, made once for each content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.images import base, buildah, docker, pip_settings
from cluster.images.store import content_hash, files_below, images_folder, keep_newest, made_once, one_at_a_time

ROOT = Path(__file__).parents[3]
FOREIGN = ROOT / "k8s-tests" / "foreign"
PLAIN_ALEMBIC = ROOT / "k8s-tests" / "foreign_alembic"
COMMON = (
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    *(f"requirements/{name}" for name in ("build.txt", "install.sh", "package.sh")),
)
OWN = {
    "service": ("Dockerfile", "requirements/service.txt", "service/slipway"),
    "operator": ("operator/Dockerfile", "requirements/operator.txt", "operator/slipway_operator"),
}
"""What can change each image, besides: its Dockerfile first."""

MAKERS = tuple(Path(__file__).with_name(name) for name in ("build.py", "buildah.py", "docker.py"))

HALVES = {"service": "service", "dev": "service", "operator": "operator"}
"""By target, whose image it is."""

OPERATOR_TAG = "slipway-operator:0.1.0"
REGISTRY = "docker.io/library/"
"""Where the runtimes of clusters look for a name without a registry."""


@dataclass(frozen=True)
class Recipe:
    """What makes an image: the folder that it is built in, the target, labels, and every file that counts.

    `dockerfile` lies below the folder.
    """

    context: Path
    files: tuple[Path, ...]
    dockerfile: str = "Dockerfile"
    target: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


def why_unavailable() -> str | None:
    """A sentence where no image can be built, else None."""
    reason = None if docker.available() else buildah.why_unavailable()
    return None if reason is None else f"Images can't be built here: no docker engine answers, and {reason}."


def slipway(target: str, version: str, revision: str) -> Recipe:
    """The recipe of a target of Slipway's Dockerfiles. ValueError when there is no such target."""
    if target not in HALVES:
        raise ValueError(f"The Dockerfiles have no target {target!r}: use one of {', '.join(HALVES)}.")
    own = OWN[HALVES[target]]
    files = files_below(ROOT / name for name in (*COMMON, *own))
    labels = {"org.opencontainers.image.version": version, "org.opencontainers.image.revision": revision}
    return Recipe(ROOT, tuple(files), own[0], target, labels)


def build(
    target: str = "service", tag: str = "slipway:0.1.0", *, version: str = "0.1.0", revision: str = "unknown"
) -> Path:
    """A docker-archive of Slipway's image as `docker.io/library/<tag>`; another `version` is another image.

    Raises CommandError with the build's last lines, or NoBaseImageError.
    """
    return archive_of(slipway(target, version, revision), tag)


def build_foreign(tag: str = "foreign:1") -> Path:
    """A docker-archive of an ASGI application that has nothing of Slipway; raises as `build`."""
    return archive_of(Recipe(FOREIGN, tuple(files_below([FOREIGN]))), tag)


def build_plain_alembic(target: str) -> Path:
    """A docker-archive of `plain-alembic:<target>`: a release of an application that brings its own Alembic."""
    return archive_of(
        Recipe(PLAIN_ALEMBIC, tuple(files_below([PLAIN_ALEMBIC])), target=target), f"plain-alembic:{target}"
    )


def archive_of(recipe: Recipe, tag: str) -> Path:
    """A docker-archive of what the recipe makes, under that tag; raises as `build`."""
    name, image = tag.replace("/", "-").replace(":", "-"), REGISTRY + tag
    with one_at_a_time():
        base_id, make = _builder(recipe, image)
        words = (base_id, image, recipe.target or "", *(f"{key}={value}" for key, value in recipe.labels.items()))
        path = images_folder() / f"{name}-{content_hash(ROOT, (*recipe.files, *MAKERS), *words)}.tar"
        made = made_once(path, make)
        keep_newest(images_folder(), f"{name}-????????????.tar")
        return made


def _builder(recipe: Recipe, image: str) -> tuple[str, Callable[[Path], None]]:
    """The id of the base image here, and what builds `image` from it into an archive."""
    if docker.available():
        return docker.pulled(base.IMAGES[base.PYTHON]), lambda path: _with_docker(recipe, image, path)
    return base.ensure_in_buildah(base.PYTHON), lambda path: _with_buildah(recipe, image, path)


def _with_docker(recipe: Recipe, image: str, archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        docker.build(
            recipe.context,
            image,
            dockerfile=recipe.dockerfile,
            target=recipe.target,
            labels=recipe.labels,
            secrets=_secrets(folder),
        )
    docker.save(image, archive)


def _with_buildah(recipe: Recipe, image: str, archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        buildah.build(
            recipe.context, image, dockerfile=recipe.dockerfile, target=recipe.target, secrets=_secrets(folder)
        )
    if recipe.labels:
        buildah.label(image, recipe.labels)
    buildah.push_archive(image, archive)


def _secrets(folder: str) -> dict[str, Path]:
    return pip_settings.secrets(Path(folder))
