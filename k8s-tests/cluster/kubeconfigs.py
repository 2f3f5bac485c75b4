"""A kubeconfig for the administrator and for each program that speaks to the API server."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from cluster.settings import Settings

PROGRAMS = ("controller-manager", "scheduler", "kubelet", "proxy", "coredns", "metrics-server")
PORT = 6443


def write(settings: Settings) -> None:
    """Programs reach the API server on loopback of their namespace, the administrator over the link to the host."""
    for program in PROGRAMS:
        _write(settings, path(settings, program), program, f"https://127.0.0.1:{PORT}")
    _write(settings, settings.kubeconfig, "administrator", f"https://{settings.node_address}:{PORT}")


def path(settings: Settings, program: str) -> Path:
    return settings.configuration / f"{program}.kubeconfig"


def _write(settings: Settings, target: Path, subject: str, server: str) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": settings.name,
                "cluster": {"server": server, "certificate-authority-data": _encoded(settings, "authority.crt")},
            }
        ],
        "users": [
            {
                "name": subject,
                "user": {
                    "client-certificate-data": _encoded(settings, f"{subject}.crt"),
                    "client-key-data": _encoded(settings, f"{subject}.key"),
                },
            }
        ],
        "contexts": [{"name": settings.name, "context": {"cluster": settings.name, "user": subject}}],
        "current-context": settings.name,
    }
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(document, sort_keys=False))


def _encoded(settings: Settings, file: str) -> str:
    return base64.b64encode((settings.certificates / file).read_bytes()).decode()
