"""Where a cluster of our own lives: its names, folders and addresses. Everything else derives from these."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

KUBERNETES_VERSION = "v1.34.4"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where binaries and images outlive a cluster: `SLIPWAY_CACHE_DIR`, else below the user's cache."""
    if chosen := environment.get("SLIPWAY_CACHE_DIR"):
        return Path(chosen).absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "slipway"


@dataclass(frozen=True)
class Settings:
    """Two clusters run side by side when they differ in `name`, `folder` and `network`.

    `network` is the /24 between host and node: `.254` is the host's end, `.1` the node's.
    """

    folder: Path
    cache: Path
    name: str = "slipway"
    network: str = "10.89.0.0/24"
    node: str = "node-1"
    pods: str = "10.244.0.0/24"
    services: str = "10.96.0.0/16"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """`SLIPWAY_CLUSTER_DIR` and `SLIPWAY_CACHE_DIR` choose the folders."""
        folder = environment.get("SLIPWAY_CLUSTER_DIR") or Path(tempfile.gettempdir()) / "slipway-cluster"
        return cls(folder=Path(folder).absolute(), cache=cache_folder(environment))

    @property
    def locks(self) -> Path:
        """The same for every cache and checkout of this machine: they share a cluster of one name."""
        return Path(tempfile.gettempdir()) / f"{self.name}-locks"

    def _host(self, network: str, number: int) -> str:
        return str(ipaddress.ip_network(network)[number])

    @property
    def host_address(self) -> str:
        return self._host(self.network, 254)

    @property
    def node_address(self) -> str:
        return self._host(self.network, 1)

    @property
    def api_service_address(self) -> str:
        return self._host(self.services, 1)

    @property
    def dns_service_address(self) -> str:
        return self._host(self.services, 10)

    @property
    def namespace(self) -> Path:
        """The network namespace that all of the cluster runs in."""
        return Path("/run/netns") / self.name

    @property
    def link(self) -> str:
        return f"{self.name}0"

    @property
    def cgroup(self) -> str:
        return f"{self.name}-cluster"

    @property
    def run_folder(self) -> Path:
        """Sockets: their paths may not exceed 108 bytes, so they don't follow `folder`."""
        return Path("/run") / f"{self.name}-cluster"

    @property
    def mounts(self) -> Path:
        """The pinned mount namespace: every mount of containerd and kubelet vanishes with it."""
        return self.run_folder / "mounts"

    @property
    def containerd_socket(self) -> Path:
        return self.run_folder / "containerd.sock"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def configuration(self) -> Path:
        return self.folder / "configuration"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for use on the host."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit" / "audit.log"

    @property
    def enter(self) -> tuple[str, ...]:
        """What goes before a command so that it runs in the cluster's network."""
        return ("nsenter", f"--net={self.namespace}", "--")
