"""Schemas of others: the definitions of objects that the chart renders, and that of Compose files.

They travel with Go modules of their makers, pinned in cluster/go/crds; Go checks each download against go.sum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster import golang
from cluster.binaries import SOURCES
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.progress import Progress
from cluster.settings import cache_folder

PINS = SOURCES / "crds"
FILES = {
    "github.com/cert-manager/cert-manager": ("deploy/crds/cert-manager.io_certificates.yaml",),
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
}
COMPOSE = ("github.com/compose-spec/compose-go/v2", "schema/compose-spec.json")
"""Apache-2.0."""
DOWNLOAD_SECONDS = 300.0


def definitions(pins: Path = PINS) -> Iterator[dict[str, Any]]:
    """Certificate, PrometheusRule, ServiceMonitor and HTTPRoute (standard channel), a CustomResourceDefinition each.

    Raises CommandError when a module can't be fetched or isn't what go.sum says, ClusterError when go.sum doesn't say.
    """
    go = golang.toolchain(golang.required(pins), cache_folder(os.environ), Progress())
    for module, files in FILES.items():
        folder = _fetched(go, module, pins)
        for file in files:
            yield yaml.safe_load((folder / file).read_text())


def compose_schema(pins: Path = PINS) -> dict[str, Any]:
    """The Compose Specification's JSON schema. Raises as `definitions` does."""
    go = golang.toolchain(golang.required(pins), cache_folder(os.environ), Progress())
    module, file = COMPOSE
    schema: dict[str, Any] = json.loads((_fetched(go, module, pins) / file).read_text())
    return schema


def _fetched(go: str, module: str, pins: Path) -> Path:
    # Go itself compares with the lines that are there, and would add those that are missing.
    pinned = (pins / "go.sum").read_text().splitlines()
    command = [go, "mod", "download", "-json", module]
    answer = json.loads(run(command, folder=pins, environment=golang.ENVIRONMENT, timeout=DOWNLOAD_SECONDS))
    if f"{module} {answer['Version']} {answer['Sum']}" not in pinned:
        raise ClusterError(f"{pins / 'go.sum'} has no line for {module} {answer['Version']}")
    return Path(answer["Dir"])
