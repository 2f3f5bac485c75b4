"""A cluster made from nothing on this machine: the order in which it comes up, and how nothing of it is left."""

from __future__ import annotations

import hashlib
import shutil
import socket
from pathlib import Path

from cluster import (
    addons,
    binaries,
    certificates,
    cgroups,
    claims,
    control_plane,
    kubeconfigs,
    mounts,
    network,
    node,
    packages,
)
from cluster.commands import CommandError
from cluster.errors import ClusterError
from cluster.helm import Helm
from cluster.kubectl import Kubectl
from cluster.loading import load_image
from cluster.locks import exclusive
from cluster.model import Cluster
from cluster.pause import write_archive
from cluster.processes import Processes, end_all, running
from cluster.progress import Progress
from cluster.settings import Settings
from cluster.waiting import until

LOCK_SECONDS = 1800.0
API_SECONDS = 60.0
NODE_SECONDS = 60.0
ADDON_SECONDS = 60.0
SOCKET_SECONDS = 30.0
REMOVE_SECONDS = 10.0
DNS_PORT = 53


def up(settings: Settings, progress: Progress) -> Cluster:
    """The running cluster; half of one, and one that has broken, is cleared away and made anew.

    ClusterError when a whole one of another making runs, from another cache or other sources: somebody may be using it.
    """
    with exclusive(_lock(settings), within=LOCK_SECONDS):
        mounts.check(settings)
        folders = gather(settings, progress)
        cluster = _cluster(settings, folders)
        if is_up(settings):
            progress.say(f"the cluster {settings.name} runs already")
            return cluster
        if _whole(settings):
            raise ClusterError(
                f"The cluster {settings.name} that runs on this machine was made from another cache, or from other "
                "sources, and somebody may be using it. If nobody does, end it with `make cluster-down`."
            )
        _clear(settings, progress)
        try:
            _start(settings, folders, cluster.kubectl, progress)
        except BaseException:
            end_all(settings)  # its logs stay, for whoever looks into it; the next `up` or `down` clears them
            raise
        _finished(settings).write_text(_fingerprint(settings))
        return cluster


def gather(settings: Settings, progress: Progress) -> dict[str, Path]:
    """All that a cluster is made of, fetched and built where it isn't yet: a module's name → its programs' folder."""
    packages.ensure(packages.PACKAGES, progress)
    return {module.name: binaries.ensure(module, settings.cache, progress) for module in binaries.OWN_CLUSTER}


def down(settings: Settings, progress: Progress) -> None:
    """Leave nothing, of a whole cluster and of half of one."""
    with exclusive(_lock(settings), within=LOCK_SECONDS):
        _clear(settings, progress)


def is_up(settings: Settings) -> bool:
    """Whether all of it runs, and is what these settings and Go modules make."""
    return _whole(settings) and _finished(settings).read_text() == _fingerprint(settings)


def _whole(settings: Settings) -> bool:
    """Whether all of a cluster runs, whoever made it."""
    alive = Processes(settings).alive().values()
    return _finished(settings).exists() and all(alive) and control_plane.ready(settings)


def _start(settings: Settings, folders: dict[str, Path], kubectl: Kubectl, progress: Progress) -> None:
    kubernetes = folders["kubernetes"]
    processes = Processes(settings)
    with progress.step("network, mounts, control group"):
        claims.take(settings)
        network.create(settings)
        mounts.create(settings)
        cgroups.create(settings)
    with progress.step("certificates and configuration"):
        _write_configuration(settings)
    with progress.step("etcd, containerd, API server"):
        processes.start("etcd", control_plane.etcd(settings))
        processes.start("kube-apiserver", control_plane.api_server(settings, kubernetes / "kube-apiserver"))
        processes.start("containerd", node.containerd(settings))
        _load_pause(settings, folders["pause"] / "pause", processes)
        processes.wait("kube-apiserver", lambda: control_plane.ready(settings), API_SECONDS, "ready API")
    with progress.step("node Ready"):
        for name, program in (
            ("kube-controller-manager", control_plane.controller_manager),
            ("kube-scheduler", control_plane.scheduler),
            ("kubelet", node.kubelet),
            ("kube-proxy", node.kube_proxy),
        ):
            processes.start(name, program(settings, kubernetes / name))
        kubectl.apply(addons.documents(settings))
        target = f"node/{settings.node}"
        processes.wait("kubelet", lambda: _has(kubectl, target, "Ready"), NODE_SECONDS, "Ready node")
    with progress.step("DNS and metrics"):
        # Each reads what it may at its start, and waits long or ends when it may not yet.
        processes.wait("kube-apiserver", lambda: addons.dns_allowed(kubectl), API_SECONDS, "rights of CoreDNS")
        processes.start("coredns", addons.coredns(settings, folders["tools"] / "coredns"))
        processes.wait(
            "kube-apiserver", lambda: addons.metrics_allowed(kubectl), API_SECONDS, "rights of metrics-server"
        )
        metrics = folders["metrics-server"] / "metrics-server"
        processes.start("metrics-server", addons.metrics_server(settings, metrics))
        _await_metrics(settings, kubectl, processes)
        processes.wait("coredns", lambda: _listens(settings.node_address, DNS_PORT), ADDON_SECONDS, "cluster DNS")
        kubectl.wait("serviceaccount/default", "create", "default")


def _await_metrics(settings: Settings, kubectl: Kubectl, processes: Processes) -> None:
    address, port = settings.node_address, addons.METRICS_PORT
    processes.wait("metrics-server", lambda: _listens(address, port), ADDON_SECONDS, "open port")
    kubectl.apply(addons.metrics_documents(settings))
    target = "apiservice/v1beta1.metrics.k8s.io"
    processes.wait("metrics-server", lambda: _has(kubectl, target, "Available"), ADDON_SECONDS, "metrics")


def _write_configuration(settings: Settings) -> None:
    settings.configuration.mkdir()
    certificates.write(settings)
    kubeconfigs.write(settings)
    for part in (control_plane, node, addons):
        part.write_configuration(settings)


def _load_pause(settings: Settings, program: Path, processes: Processes) -> None:
    archive = settings.folder / "pause.tar"
    write_archive(program, archive)
    processes.wait("containerd", settings.containerd_socket.exists, SOCKET_SECONDS, "socket")
    load_image(settings, archive)
    archive.unlink()


def _has(kubectl: Kubectl, what: str, condition: str) -> bool:
    try:
        conditions = kubectl.json("get", what).get("status", {}).get("conditions", [])
    except CommandError:
        return False  # not there yet
    return any(found["type"] == condition and found["status"] == "True" for found in conditions)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _clear(settings: Settings, progress: Progress) -> None:
    """Processes first: the rest can't go while they hold it. ClusterError when it isn't ours to clear."""
    claims.check(settings)
    parts = (settings.folder, settings.run_folder, settings.namespace, Path("/sys/class/net", settings.link))
    if not running(settings) and not any(part.exists() for part in parts):
        return
    with progress.step(f"the cluster {settings.name} cleared away"):
        end_all(settings)
        mounts.remove(settings)
        network.remove(settings)
        cgroups.remove(settings)
        for path in (settings.run_folder, *claims.contents(settings), settings.folder):
            _remove(path)


def _remove(path: Path) -> None:
    """Mounts inside vanish with the last process that saw them, a moment after its end."""

    def removed() -> bool:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return not path.exists()

    try:
        until(removed, REMOVE_SECONDS)
    except TimeoutError:
        raise ClusterError(f"{path} can't be removed: something is still mounted in it") from None


def _cluster(settings: Settings, folders: dict[str, Path]) -> Cluster:
    return Cluster(
        kind="own",
        kubeconfig=settings.kubeconfig,
        kubectl=Kubectl(folders["kubernetes"] / "kubectl", settings.kubeconfig),
        helm=Helm(folders["tools"] / "helm", settings.kubeconfig),
        load=lambda archive: load_image(settings, archive),
        node_address=settings.node_address,
        enter=settings.enter,
        audit_log=settings.audit_log,
    )


def _lock(settings: Settings) -> Path:
    return settings.locks / "changes"


def _finished(settings: Settings) -> Path:
    """Written last: a folder without it is half of a cluster."""
    return settings.folder / "finished"


def _fingerprint(settings: Settings) -> str:
    modules = [binaries.fingerprint(module) for module in binaries.OWN_CLUSTER]
    return hashlib.sha256(repr((settings, modules)).encode()).hexdigest()
