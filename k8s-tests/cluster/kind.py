"""A cluster by kind, where a Docker engine runs."""

from __future__ import annotations

import platform
from typing import Any

from cluster import addons, binaries
from cluster.commands import CommandError, run
from cluster.helm import Helm
from cluster.kubectl import Kubectl
from cluster.locks import exclusive
from cluster.model import Cluster
from cluster.progress import Progress
from cluster.settings import Settings

CREATE_SECONDS = 600.0
LOAD_SECONDS = 300.0
METRICS_IMAGE = "registry.k8s.io/metrics-server/metrics-server:v0.9.0"


def up(settings: Settings, progress: Progress) -> Cluster:
    """The cluster of our name, made if there is none."""
    kubectl = Kubectl(binaries.ensure(binaries.KUBERNETES, settings.cache, progress) / "kubectl", settings.kubeconfig)
    helm = Helm(binaries.ensure(binaries.TOOLS, settings.cache, progress) / "helm", settings.kubeconfig)
    with exclusive(settings.cache / "locks" / f"kind-{settings.name}", within=CREATE_SECONDS):
        settings.folder.mkdir(parents=True, exist_ok=True)
        if is_up(settings):
            run(["kind", "export", "kubeconfig", *_named(settings)])
        else:
            with progress.step("kind cluster"):
                run(["kind", "create", "cluster", *_named(settings), "--wait=120s"], timeout=CREATE_SECONDS)
        kubectl.apply(documents())
    return Cluster(
        "kind",
        settings.kubeconfig,
        kubectl,
        helm,
        load=lambda archive: _load(settings, str(archive)),
        node_address=_node_address(kubectl) if platform.system() == "Linux" else None,
    )


def is_up(settings: Settings) -> bool:
    return settings.name in run(["kind", "get", "clusters"]).split()


def down(settings: Settings, progress: Progress) -> None:
    """Nothing happens when there is no such cluster."""
    with progress.step("kind cluster deleted"):
        run(["kind", "delete", "cluster", *_named(settings)], timeout=CREATE_SECONDS)


def _named(settings: Settings) -> tuple[str, ...]:
    return (f"--name={settings.name}", f"--kubeconfig={settings.kubeconfig}")


def _load(settings: Settings, archive: str) -> None:
    run(["kind", "load", "image-archive", archive, f"--name={settings.name}"], timeout=LOAD_SECONDS)


def _node_address(kubectl: Kubectl) -> str | None:
    """Docker's bridge leads there from a Linux host; elsewhere a virtual machine lies between."""
    try:
        nodes = kubectl.json("get", "nodes")["items"]
    except CommandError:
        return None
    found: list[str] = [
        address["address"]
        for node in nodes
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP" and ":" not in address["address"]
    ]
    return found[0] if found else None


def documents() -> list[dict[str, Any]]:
    """metrics-server, which kind doesn't bring: autoscalers need it."""
    account = {"kind": "ServiceAccount", "name": "metrics-server", "namespace": "kube-system"}
    meta = {"name": "metrics-server", "namespace": "kube-system"}
    labels = {"app.kubernetes.io/name": "metrics-server"}
    container = {
        "name": "metrics-server",
        "image": METRICS_IMAGE,
        "args": [
            "--cert-dir=/tmp",
            "--secure-port=10250",
            "--kubelet-insecure-tls",  # kind's kubelets sign their own certificates
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        "ports": [{"name": "https", "containerPort": 10250}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the container
    }
    pod = {
        "serviceAccountName": "metrics-server",
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        *addons.metrics_rights(account),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]},
        },
        addons.metrics_api({"insecureSkipTLSVerify": True}),
    ]
