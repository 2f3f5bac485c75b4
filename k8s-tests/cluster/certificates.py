"""Every certificate and key of the cluster, from one authority that lives as long as the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cluster.settings import Settings

LOOPBACK = "127.0.0.1"
API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class Subject:
    """Kubernetes reads a user from `name` and a group from `group`; `identities` are names and addresses it serves."""

    name: str
    group: str | None = None
    identities: tuple[str, ...] = ()


def subjects(settings: Settings) -> dict[str, Subject]:
    """File name → whose certificate it is."""
    return {
        "apiserver": Subject(
            "kube-apiserver",
            identities=(*API_NAMES, LOOPBACK, settings.api_service_address, settings.node_address),
        ),
        "apiserver-to-kubelet": Subject("kube-apiserver-kubelet-client", "system:masters"),
        "front-proxy": Subject("front-proxy"),
        "administrator": Subject("administrator", "system:masters"),
        "controller-manager": Subject("system:kube-controller-manager", identities=(LOOPBACK,)),
        "scheduler": Subject("system:kube-scheduler", identities=(LOOPBACK,)),
        "kubelet": Subject(
            f"system:node:{settings.node}",
            "system:nodes",
            identities=(settings.node, LOOPBACK, settings.node_address),
        ),
        "proxy": Subject("system:kube-proxy"),
        "coredns": Subject("slipway:coredns"),
        "metrics-server": Subject("slipway:metrics-server", identities=("metrics-server.kube-system.svc",)),
    }


def write(settings: Settings) -> None:
    """`authority.crt`, a `.crt` and `.key` for each subject, and the pair that signs service account tokens."""
    folder = settings.certificates
    folder.mkdir(mode=0o700, parents=True)
    authority = trustme.CA(organization_name=f"{settings.name} test cluster")
    authority.cert_pem.write_to_path(folder / "authority.crt")
    _write_secret(folder / "authority.key", authority.private_key_pem.bytes())
    for file, subject in subjects(settings).items():
        # Go refuses a certificate with a list of identities that is empty, so each has one at least.
        identities = subject.identities or (f"{file}.slipway.internal",)
        leaf = authority.issue_cert(*identities, common_name=subject.name, organization_name=subject.group)
        (folder / f"{file}.crt").write_bytes(leaf.cert_chain_pems[0].bytes())
        _write_secret(folder / f"{file}.key", leaf.private_key_pem.bytes())
    _write_token_keys(folder)


def _write_token_keys(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_secret(
        folder / "tokens.key",
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    (folder / "tokens.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
