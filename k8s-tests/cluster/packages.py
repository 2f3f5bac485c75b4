"""Debian packages that a cluster of our own is made of."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.progress import Progress
from system_packages import LOCK_SECONDS, RUN_SECONDS, install

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLUGINS = Path("/usr/lib/cni")
"""Where Debian keeps CNI plugins."""
LOCK = Path(tempfile.gettempdir()) / "slipway-packages.lock"
INSTALL_SECONDS = 2 * (LOCK_SECONDS + RUN_SECONDS) + 60.0
"""How long one process waits for another that installs: longer than that may take, so that it works for both."""

PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "taskset": "util-linux",
    "mount": "mount",
    str(PLUGINS / "ptp"): "containernetworking-plugins",
}
"""Program → Debian package that has it."""


def missing(packages: dict[str, str]) -> list[str]:
    """The packages of which a program isn't there, sorted, each once."""
    return sorted({package for program, package in packages.items() if shutil.which(program, path=SEARCHED) is None})


def ensure(packages: dict[str, str], progress: Progress) -> None:
    """Install what is missing, as root, by apt; ClusterError when that fails."""
    if not missing(packages):
        return
    with exclusive(LOCK, within=INSTALL_SECONDS):  # two apt-gets at once are in each other's way
        absent = missing(packages)
        if absent:
            _install(absent, progress)


def _install(absent: list[str], progress: Progress) -> None:
    try:
        with progress.step(f"Debian packages: {' '.join(absent)}"):
            install(absent)
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(f"apt-get couldn't install {' '.join(absent)}: {error}") from None
