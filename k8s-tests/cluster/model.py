"""What every way to a cluster ends in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.helm import Helm
from cluster.kubectl import Kubectl

Kind = Literal["given", "kind", "own"]


@dataclass(frozen=True)
class Cluster:
    """`node_address` is where NodePorts answer, None when that can't be known.

    `enter` goes before a command that shall run in the cluster's network (empty: commands on the host reach it as they
    are). `audit_log` is the API server's, where it is ours.
    """

    kind: Kind
    kubeconfig: Path
    kubectl: Kubectl
    helm: Helm
    load: Callable[[Path], None]
    node_address: str | None = None
    enter: tuple[str, ...] = ()
    audit_log: Path | None = None

    def load_image(self, archive: Path) -> None:
        """Give the nodes the images of a Docker archive, under the names that it carries."""
        self.load(archive)
