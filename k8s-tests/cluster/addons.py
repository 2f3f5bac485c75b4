"""Cluster DNS and resource metrics: CoreDNS and metrics-server as programs on the node, and objects that lead to them.

As programs they need no images. Each may read what its own role allows, nothing more.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cluster import kubeconfigs
from cluster.commands import CommandError
from cluster.kubectl import Kubectl
from cluster.settings import Settings

METRICS_PORT = 4443
METRICS_USER = "slipway:metrics-server"
DNS_USER = "slipway:coredns"
READ = ["get", "list", "watch"]
RBAC = "rbac.authorization.k8s.io"

Document = dict[str, Any]

COREFILE = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
    cache 5
}}
"""


def write_configuration(settings: Settings) -> None:
    _corefile(settings).write_text(
        COREFILE.format(address=settings.node_address, kubeconfig=kubeconfigs.path(settings, "coredns"))
    )


def _corefile(settings: Settings) -> Path:
    return settings.configuration / "Corefile"


def coredns(settings: Settings, program: Path) -> list[str | Path]:
    return [program, "-conf", _corefile(settings)]


def metrics_server(settings: Settings, program: Path) -> list[str | Path]:
    kubeconfig = kubeconfigs.path(settings, "metrics-server")
    certificates = settings.certificates
    return [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--secure-port={METRICS_PORT}",
        f"--tls-cert-file={certificates / 'metrics-server.crt'}",
        f"--tls-private-key-file={certificates / 'metrics-server.key'}",
        f"--kubelet-certificate-authority={certificates / 'authority.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    ]


def dns_allowed(kubectl: Kubectl) -> bool:
    return _allowed(kubectl, DNS_USER, "list", "endpointslices.discovery.k8s.io", "--all-namespaces")


def metrics_allowed(kubectl: Kubectl) -> bool:
    what = "configmaps/extension-apiserver-authentication"
    return _allowed(kubectl, METRICS_USER, "get", what, "--namespace=kube-system")


def _allowed(kubectl: Kubectl, user: str, verb: str, what: str, scope: str) -> bool:
    """Whether a right counts already: the API server learns of it a moment after it is applied."""
    try:
        kubectl.run("auth", "can-i", verb, what, scope, f"--as={user}")
    except CommandError:
        return False
    return True


def documents(settings: Settings) -> list[Document]:
    """What to apply once the API server is ready."""
    port = {"name": "https", "port": 443, "targetPort": METRICS_PORT, "protocol": "TCP"}
    return [
        *_dns(settings),
        *metrics_rights({"kind": "User", "apiGroup": RBAC, "name": METRICS_USER}),
        _service("metrics-server", {"ports": [port]}),
        _endpoints(
            "metrics-server", settings.node_address, [{"name": "https", "port": METRICS_PORT, "protocol": "TCP"}]
        ),
    ]


def metrics_documents(settings: Settings) -> list[Document]:
    """What to apply once metrics-server listens: before, the API server would only look again after a pause."""
    authority = (settings.certificates / "authority.crt").read_bytes()
    return [metrics_api({"caBundle": base64.b64encode(authority).decode()})]


def _dns(settings: Settings) -> list[Document]:
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return [
        _role(DNS_USER, rules),
        _binding(DNS_USER, DNS_USER, {"kind": "User", "apiGroup": RBAC, "name": DNS_USER}),
        _service("kube-dns", {"clusterIP": settings.dns_service_address, "ports": ports}),
        _endpoints("kube-dns", settings.node_address, ports),
    ]


def metrics_api(trust: Document) -> Document:
    """The API that metrics-server serves; `trust` says how its certificate is checked."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": "metrics-server", "namespace": "kube-system"},
            **trust,
        },
    }


def metrics_rights(subject: Document) -> list[Document]:
    """What metrics-server needs: read nodes and pods, ask kubelets, and check who asks it."""
    name = "slipway:metrics-server"
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": READ},
    ]
    readers = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": "kube-system"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
        "subjects": [subject],
    }
    return [
        _role(name, rules),
        _binding(name, name, subject),
        _binding(f"{name}:delegator", "system:auth-delegator", subject),
        readers,
    ]


def _role(name: str, rules: list[Document]) -> Document:
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def _binding(name: str, role: str, subject: Document) -> Document:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def _service(name: str, spec: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": spec,
    }


def _endpoints(service: str, address: str, ports: list[Document]) -> Document:
    """A Service without selector is led to a fixed address by this."""
    labels = {"kubernetes.io/service-name": service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-node", "namespace": "kube-system", "labels": labels},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [address]}],
    }
