"""The docker engine, where one answers."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster.commands import CommandError, run

BUILD_TIMEOUT = 1200.0
COPY_TIMEOUT = 300.0
PULL_TIMEOUT = 600.0


@functools.cache
def available() -> bool:
    """Whether a docker engine answers; asked once a process."""
    if shutil.which("docker") is None:
        return False
    try:
        run(["docker", "version", "--format={{.Server.Version}}"], timeout=10.0)
    except CommandError:
        return False
    return True


def image_id(name: str) -> str | None:
    """The id of an image in the engine; none when there is no such image."""
    try:
        return (
            run(["docker", "image", "inspect", "--format={{.Id}}", name], timeout=30.0).strip().removeprefix("sha256:")
        )
    except CommandError:
        return None


def pulled(name: str) -> str:
    """The id of an image that is fetched when it isn't there. Raises CommandError."""
    found = image_id(name)
    if found is None:
        run(["docker", "pull", "--quiet", name], timeout=PULL_TIMEOUT)
        found = image_id(name)
    return found or ""


def save(name: str, archive: Path) -> None:
    """Write a docker-archive that carries `name`. Raises CommandError."""
    run(["docker", "save", f"--output={archive}", name], timeout=COPY_TIMEOUT)


def build(
    context: Path,
    name: str,
    *,
    dockerfile: str = "Dockerfile",
    target: str | None = None,
    arguments: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    secrets: Mapping[str, Path] | None = None,
) -> None:
    """Build a Dockerfile of the folder into the engine. Raises CommandError with the build's last lines."""
    options = ["--load", "--provenance=false", f"--tag={name}", f"--file={context / dockerfile}"]
    options += [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    options += [f"--label={key}={value}" for key, value in (labels or {}).items()]
    options += [f"--secret=id={key},src={path}" for key, path in (secrets or {}).items()]
    if target is not None:
        options.append(f"--target={target}")
    environment = {"SOURCE_DATE_EPOCH": "0"}  # the same files make the same layers
    run(["docker", "buildx", "build", *options, context], timeout=BUILD_TIMEOUT, environment=environment)
