"""The node: containerd with its pod network, kubelet and kube-proxy; their configuration and how each is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cluster import kubeconfigs
from cluster.commands import run
from cluster.packages import PLUGINS
from cluster.pause import PAUSE_IMAGE
from cluster.settings import Settings

CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{run}/containerd"

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE a container may not be made a less likely victim of the OOM killer than containerd.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def write_configuration(settings: Settings) -> None:
    folder = settings.configuration
    cni = folder / "cni"
    cni.mkdir()
    (cni / "10-pods.conflist").write_text(json.dumps(pod_network(settings)))
    (folder / "containerd.toml").write_text(
        CONTAINERD.format(
            folder=settings.folder,
            run=settings.run_folder,
            socket=settings.containerd_socket,
            pause=PAUSE_IMAGE,
            plugins=PLUGINS,
            cni=cni,
            snapshotter=snapshotter(filesystem(settings.folder)),
        )
    )
    (folder / "resolv.conf").write_text(f"nameserver {settings.node_address}\n")
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet_configuration(settings)))
    (folder / "kube-proxy.yaml").write_text(yaml.safe_dump(proxy_configuration(settings)))


def filesystem(folder: Path) -> str:
    """The type of file system a folder is on."""
    return run(["stat", "--file-system", "--format=%T", folder]).strip()


def snapshotter(kind: str) -> str:
    """How containerd stacks layers: overlays can't lie on an overlay, as inside a container; copies can."""
    return "native" if kind == "overlayfs" else "overlayfs"


def pod_network(settings: Settings) -> dict[str, Any]:
    """Each pod has its own link to the node, so that all traffic passes the node's rules, also between two pods."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": settings.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(settings.folder / "addresses"),
    }
    return {
        "cniVersion": "0.4.0",
        "name": settings.cgroup,
        "plugins": [
            {"type": "ptp", "ipMasq": True, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_configuration(settings: Settings) -> dict[str, Any]:
    certificates = settings.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": {"clientCAFile": str(certificates / "authority.crt")},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificates / "kubelet.crt"),
        "tlsPrivateKeyFile": str(certificates / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "failCgroupV1": False,
        "clusterDNS": [settings.dns_service_address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(settings.configuration / "resolv.conf"),
        "volumePluginDir": str(settings.folder / "volume-plugins"),
        "maxPods": 110,
        # A full disk of a developer's machine is no reason to evict pods or drop images.
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def proxy_configuration(settings: Settings) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfigs.path(settings, "proxy"))},
        "clusterCIDR": settings.pods,
        "hostnameOverride": settings.node,
        "conntrack": {"maxPerCore": 0},  # that limit belongs to the machine
    }


def containerd(settings: Settings) -> list[str | Path]:
    return ["containerd", f"--config={settings.configuration / 'containerd.toml'}"]


def kubelet(settings: Settings, program: Path) -> list[str | Path]:
    return [
        program,
        f"--config={settings.configuration / 'kubelet.yaml'}",
        f"--kubeconfig={kubeconfigs.path(settings, 'kubelet')}",
        f"--hostname-override={settings.node}",
        f"--node-ip={settings.node_address}",
        f"--root-dir={settings.folder / 'kubelet'}",
        f"--cert-dir={settings.folder / 'kubelet-certificates'}",
    ]


def kube_proxy(settings: Settings, program: Path) -> list[str | Path]:
    return [program, f"--config={settings.configuration / 'kube-proxy.yaml'}"]
