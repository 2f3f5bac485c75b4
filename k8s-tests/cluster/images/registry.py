"""A registry of images on this machine, for tests of what is pushed to one: Debian's docker-registry."""

from __future__ import annotations

import os
import shutil

from cluster import packages
from cluster.progress import Progress

PACKAGES = {"docker-registry": "docker-registry"}
"""Program → Debian package that has it."""


def why_unavailable() -> str | None:
    """A sentence where it is neither installed nor can be, else None."""
    if packages.missing(PACKAGES) and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return "docker-registry is not here, and can't be installed without root and apt-get"
    return None


def ensure(progress: Progress) -> None:
    """Install it if it is missing; ClusterError when that fails."""
    packages.ensure(PACKAGES, progress)
