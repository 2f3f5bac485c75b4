"""etcd, the API server, the controller manager and the scheduler: their configuration and how each is called."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import yaml

from cluster import kubeconfigs, mounts
from cluster.settings import Settings

ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"
AUDIT_MEGABYTES = 100

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # What Kubernetes does by itself would drown what is under test.
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {
            "level": "None",
            "users": [
                "system:apiserver",
                "system:kube-controller-manager",
                "system:kube-proxy",
                "system:kube-scheduler",
                "slipway:coredns",
                "slipway:metrics-server",
            ],
        },
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/openapi/*", "/version"]},
        {"level": "Metadata"},
    ],
}


def write_configuration(settings: Settings) -> None:
    settings.audit_log.parent.mkdir(mode=0o700)
    _audit_policy(settings).write_text(yaml.safe_dump(AUDIT_POLICY))


def _audit_policy(settings: Settings) -> Path:
    return settings.configuration / "audit-policy.yaml"


def etcd(settings: Settings) -> list[str | Path]:
    return [
        "etcd",
        f"--data-dir={mounts.etcd_folder(settings)}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
    ]


def api_server(settings: Settings, program: Path) -> list[str | Path]:
    certificates = settings.certificates
    authority = certificates / "authority.crt"
    return [
        program,
        f"--etcd-servers={ETCD}",
        f"--advertise-address={settings.node_address}",
        f"--secure-port={kubeconfigs.PORT}",
        f"--client-ca-file={authority}",
        f"--tls-cert-file={certificates / 'apiserver.crt'}",
        f"--tls-private-key-file={certificates / 'apiserver.key'}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={certificates / 'apiserver-to-kubelet.crt'}",
        f"--kubelet-client-key={certificates / 'apiserver-to-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={certificates / 'tokens.pub'}",
        f"--service-account-signing-key-file={certificates / 'tokens.key'}",
        f"--service-cluster-ip-range={settings.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # Tests have it do what meshes' and registries' webhooks do. Beta, and so off, in this version.
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        "--allow-privileged",
        f"--requestheader-client-ca-file={authority}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={certificates / 'front-proxy.crt'}",
        f"--proxy-client-key-file={certificates / 'front-proxy.key'}",
        "--enable-aggregator-routing",
        f"--audit-policy-file={_audit_policy(settings)}",
        f"--audit-log-path={settings.audit_log}",
        f"--audit-log-maxsize={AUDIT_MEGABYTES}",
        "--audit-log-maxbackup=1",
    ]


def controller_manager(settings: Settings, program: Path) -> list[str | Path]:
    certificates = settings.certificates
    kubeconfig = kubeconfigs.path(settings, "controller-manager")
    return [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--tls-cert-file={certificates / 'controller-manager.crt'}",
        f"--tls-private-key-file={certificates / 'controller-manager.key'}",
        f"--root-ca-file={certificates / 'authority.crt'}",
        f"--cluster-signing-cert-file={certificates / 'authority.crt'}",
        f"--cluster-signing-key-file={certificates / 'authority.key'}",
        f"--service-account-private-key-file={certificates / 'tokens.key'}",
        f"--service-cluster-ip-range={settings.services}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",
        "--leader-elect=false",
        "--kube-api-qps=200",  # its dozens of controllers each ask for a token before they start
        "--kube-api-burst=400",
        "--horizontal-pod-autoscaler-sync-period=5s",  # tests wait for it
    ]


def scheduler(settings: Settings, program: Path) -> list[str | Path]:
    certificates = settings.certificates
    kubeconfig = kubeconfigs.path(settings, "scheduler")
    return [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--tls-cert-file={certificates / 'scheduler.crt'}",
        f"--tls-private-key-file={certificates / 'scheduler.key'}",
        "--leader-elect=false",
    ]


def ready(settings: Settings) -> bool:
    """Whether the API server says so, asked from the host."""
    context = ssl.create_default_context(cafile=settings.certificates / "authority.crt")
    client = settings.certificates / "administrator"
    context.load_cert_chain(client.with_suffix(".crt"), client.with_suffix(".key"))
    connection = http.client.HTTPSConnection(settings.node_address, kubeconfigs.PORT, timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
