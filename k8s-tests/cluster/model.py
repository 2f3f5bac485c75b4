"""What every way to a cluster ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.helm import Helm
from cluster.kubectl import Kubectl

Kind = Literal["given", "kind", "own"]

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
REMOVAL_SECONDS = 120.0


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

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """A namespace that refuses pods beyond the restricted Pod Security Standard; after it nothing is left of it."""
        meta = {"name": name, "labels": RESTRICTED}
        self.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}])
        try:
            self.kubectl.wait("serviceaccount/default", "create", name)
            yield name
        finally:
            self._remove(name)

    def _remove(self, namespace: str) -> None:
        """Its pods are ended at once: nobody is served by them any more, and grace would be waited for in vain."""
        self.kubectl.run("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        self.kubectl.run("delete", "pods", "--all", f"--namespace={namespace}", "--grace-period=0", "--force")
        self.kubectl.wait(f"namespace/{namespace}", "delete", timeout=REMOVAL_SECONDS)
