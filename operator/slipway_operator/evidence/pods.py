"""What a pod shows of how it can be asked, and why it may not answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from slipway_operator.nodes import Lost, lost
from slipway_operator.times import seconds

AMBIENT = "ambient.istio.io/redirection"
MESHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "istio-proxy": ("Istio", "traffic.sidecar.istio.io/excludeInboundPorts"),
        "linkerd-proxy": ("Linkerd", "config.linkerd.io/skip-inbound-ports"),
        "kuma-sidecar": ("Kuma", "traffic.kuma.io/exclude-inbound-ports"),
        "consul-dataplane": ("Consul", "consul.hashicorp.com/transparent-proxy-exclude-inbound-ports"),
    }
)
"""By the name of the proxy's container: the mesh, and the annotation of pods that has it let a port be."""


@dataclass(frozen=True, slots=True)
class Pod:
    """`ports`: of its containers, by name. `mesh`: name of its proxy's container, or `AMBIENT`; empty for none.

    `job_since`: when it was made, if by a Job; in seconds since the epoch.
    """

    name: str
    address: str
    starting: bool
    ports: Mapping[str, int]
    mesh: str = ""
    job_since: float | None = None
    lost: Lost | None = None


def pod_of(found: Mapping[str, Any], now: float) -> Pod:
    metadata, status = found["metadata"], found["status"]
    containers = list(_containers(found.get("spec") or {}))
    started = any(one.get("started") for one in status.get("containerStatuses") or ())
    owners = metadata.get("ownerReferences") or ()
    of_job = any(one["kind"] == "Job" and one.get("controller") for one in owners)
    ports = (port for container in containers for port in container.get("ports") or ())
    return Pod(
        metadata["name"],
        status.get("podIP", ""),
        not started,
        {port["name"]: port["containerPort"] for port in ports if port.get("name")},
        _mesh(metadata, containers),
        seconds(metadata["creationTimestamp"]) if of_job else None,
        lost(found, now),
    )


def way_through(mesh: str, port: int) -> str:
    """What has its mesh let somebody outside of it ask."""
    either = "or take the operator into the mesh."
    if mesh == AMBIENT:
        return f"Istio takes only mTLS there: a PeerAuthentication with portLevelMtls {port} PERMISSIVE, {either}"
    name, annotation = MESHES[mesh]
    return f'{name} takes only mTLS there: annotate the pods with {annotation}: "{port}", {either}'


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A sidecar may be an init container that stays."""
    for kind in ("containers", "initContainers"):
        yield from spec.get(kind) or ()


def _mesh(metadata: Mapping[str, Any], containers: list[Mapping[str, Any]]) -> str:
    proxy = next((one["name"] for one in containers if one.get("name") in MESHES), "")
    ambient = (metadata.get("annotations") or {}).get(AMBIENT) == "enabled"
    return proxy or (AMBIENT if ambient else "")
