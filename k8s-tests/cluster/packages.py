"""Debian packages that a cluster of our own is made of."""

from __future__ import annotations

import shutil
from pathlib import Path

from system_packages import install

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLUGINS = Path("/usr/lib/cni")
"""Where Debian keeps CNI plugins."""

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
    "mount": "mount",
    str(PLUGINS / "ptp"): "containernetworking-plugins",
}
"""Program → Debian package that has it."""


def missing(packages: dict[str, str]) -> list[str]:
    """The packages of which a program isn't there, sorted, each once."""
    return sorted({package for program, package in packages.items() if shutil.which(program, path=SEARCHED) is None})


def ensure() -> list[str]:
    """Install what is missing, as root, by apt; returns what had to be installed."""
    absent = missing(PACKAGES)
    if absent:
        install(absent)
    return absent
