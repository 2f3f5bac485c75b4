"""A cluster that somebody else runs, named by KUBECONFIG: only namespaces of our own are touched there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from cluster import binaries
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.helm import Helm
from cluster.kubectl import Kubectl
from cluster.model import Cluster
from cluster.progress import Progress
from cluster.settings import Settings

LOADER = "SLIPWAY_IMAGE_LOADER"
LOAD_SECONDS = 600.0


def attach(settings: Settings, environment: Mapping[str, str], progress: Progress) -> Cluster:
    """ClusterError when KUBECONFIG names no file or several, or when no API server answers there."""
    named = environment["KUBECONFIG"]
    kubeconfig = Path(named).absolute()
    if os.pathsep in named or not kubeconfig.is_file():
        raise ClusterError(f"KUBECONFIG must be the path of one file, and is {named}")
    program = binaries.ensure(binaries.KUBERNETES, settings.cache, progress) / "kubectl"
    kubectl = Kubectl(program, kubeconfig, settings.cache / "kubectl")  # nothing of ours beside somebody's kubeconfig
    helm = Helm(binaries.ensure(binaries.TOOLS, settings.cache, progress) / "helm", kubeconfig)
    kubectl.run("version", "--request-timeout=10s")
    loader = environment.get(LOADER, "")
    return Cluster("given", kubeconfig, kubectl, helm, load=lambda archive: _load(loader, archive))


def _load(loader: str, archive: Path) -> None:
    if not loader:
        raise ClusterError(
            f"A given cluster needs {LOADER}: the command that loads an image archive there, "
            "such as `minikube image load` or `k3s ctr images import`; the archive's path is added to it."
        )
    run([*shlex.split(loader), archive], timeout=LOAD_SECONDS)
