"""buildah, the image builder that needs no daemon. Its storage lies in the cache folder, and it leaves no mounts."""

from __future__ import annotations

import os
import platform as platform_module
import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster import packages
from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.images.store import images_folder
from cluster.privileges import CAPABILITIES, privileged
from cluster.progress import Progress, to_stderr

BUILD_TIMEOUT = 1200.0
COPY_TIMEOUT = 300.0
PULL_TIMEOUT = 300.0
PUSH_TIMEOUT = 600.0

NOT_KNOWN = "image not known"
"""What buildah says of a name that it has no image for."""

PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
"""Program → Debian package that has it."""


ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class NoBuilderError(ClusterError):
    """Nothing here can build images; the sentence says what would."""


def host_platform() -> str:
    """Such as `linux/amd64`."""
    return f"linux/{ARCHITECTURES.get(platform_module.machine(), platform_module.machine())}"


def why_unavailable() -> str | None:
    """A sentence where buildah can't be used, else None."""
    if os.geteuid() != 0:
        return "buildah needs root"
    if not privileged():
        return f"buildah needs the rights {' and '.join(CAPABILITIES)}, which this container lacks"
    absent = packages.missing(PACKAGES)
    if absent and shutil.which("apt-get") is None:
        return f"{' and '.join(absent)} can't be installed without apt-get"
    return None


def ensure() -> None:
    """Install what is missing, as root on Debian. Raises NoBuilderError where that can't be, else ClusterError."""
    reason = why_unavailable()
    if reason is not None:
        raise NoBuilderError(f"Images can't be built here without docker: {reason}.")
    packages.ensure(PACKAGES, Progress(to_stderr))


def buildah(*arguments: str, timeout: float = 60.0) -> str:
    """Run buildah on the cache's own storage and return what it prints. Raises CommandError."""
    folder = images_folder() / "buildah"
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    storage = [
        f"--root={folder / 'root'}",
        f"--runroot={folder / 'run'}",
        "--storage-driver=overlay",
        "--storage-opt=overlay.skip_mount_home=true",
    ]
    return run(["buildah", *storage, *arguments], timeout=timeout, environment={"TMPDIR": str(temporary)})


def image_id(name: str) -> str | None:
    """The id of an image in the storage; none when there is no such image."""
    # Not from a list of all images: that fails when another process removes any of them meanwhile.
    try:
        return buildah("inspect", "--type=image", "--format={{.FromImageID}}", name).strip()
    except CommandError as error:
        if NOT_KNOWN in error.stderr:
            return None
        raise


def pull(name: str) -> bool:
    """Fetch an image from its registry; false when none answers."""
    try:
        buildah("pull", "--quiet", "--policy=always", name, timeout=PULL_TIMEOUT)
    except CommandError:
        return False
    return True


def tag(name: str, also: str) -> None:
    buildah("tag", name, also)


def push(name: str) -> None:
    """Send an image to the registry in its name, with the login that this user has there. Raises CommandError."""
    buildah("push", "--quiet", name, f"docker://{name}", timeout=PUSH_TIMEOUT)


def push_archive(name: str, archive: Path) -> None:
    """Write a docker-archive that carries `name`. Raises CommandError."""
    buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}", timeout=COPY_TIMEOUT)


def label(name: str, labels: Mapping[str, str]) -> None:
    """Give an image other labels. A build can't: it takes a LABEL from its cache whatever its arguments are now."""
    container = buildah("from", "--pull=never", name).strip()
    try:
        buildah("config", *(f"--label={key}={value}" for key, value in labels.items()), container)
        buildah("commit", "--quiet", "--format=docker", "--timestamp=0", container, name, timeout=COPY_TIMEOUT)
    finally:
        buildah("rm", container)


def import_root(folder: Path, name: str) -> None:
    """Make a one-layer image of a root file system. Raises CommandError."""
    container = buildah("from", "scratch").strip()
    try:
        buildah("add", "--quiet", container, str(folder), "/", timeout=COPY_TIMEOUT)
        buildah("commit", "--quiet", container, name, timeout=COPY_TIMEOUT)
    finally:
        buildah("rm", container)


def build(
    context: Path,
    name: str,
    *,
    dockerfile: str = "Dockerfile",
    target: str | None = None,
    platform: str | None = None,
    arguments: Mapping[str, str] | None = None,
    secrets: Mapping[str, Path] | None = None,
) -> None:
    """Build a Dockerfile of the folder into the storage. Raises CommandError with the build's last lines."""
    # No timestamps: the same files make the same layers. Containers of failed steps would stay mounted.
    options = ["--isolation=chroot", "--network=host", "--layers", "--force-rm", "--format=docker", "--timestamp=0"]
    if platform in (None, host_platform()):
        options.append("--pull=never")
    else:  # the base that is here is of this machine's kind
        options += ["--pull=always", f"--platform={platform}"]
    options += [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    options += [f"--secret=id={key},src={path}" for key, path in (secrets or {}).items()]
    options.append(f"--file={context / dockerfile}")
    if target is not None:
        options.append(f"--target={target}")
    buildah("build", *options, f"--tag={name}", str(context), timeout=BUILD_TIMEOUT)
