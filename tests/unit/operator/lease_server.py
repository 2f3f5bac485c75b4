"""An API server that has Leases and pods only, as several operators see it: with faults of their own, and one clock."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from slipway_operator.cluster import Api, ApiError, ConflictError, NotFoundError, Resource, UnreachableError

Place = tuple[str, str]


@dataclass
class LeaseServer:
    """`now` in seconds; what a Lease tells of times isn't read by anybody."""

    now: float = 1000.0
    leases: dict[Place, dict[str, Any]] = field(default_factory=dict)
    pods: set[Place] = field(default_factory=set)
    closing: set[str] = field(default_factory=set)
    """Namespaces that are being deleted: nothing can be made in them."""
    versions: int = 0

    def write(self, place: Place, body: dict[str, Any]) -> dict[str, Any]:
        self.versions += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.versions)}
        self.leases[place] = copy.deepcopy({**body, "metadata": metadata})
        return copy.deepcopy(self.leases[place])

    def force(self, namespace: str, name: str, holder: str, seconds: int = 180) -> None:
        """As the releases before write theirs: whoever holds it, and nothing beside."""
        found = self.leases.get((namespace, name), {"spec": {}})
        spec = {**found["spec"], "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": str(self.now)}
        self.write((namespace, name), {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


class LeaseApi(Api):
    """One operator's sight of it. `cut_off`: nothing arrives; `answers_lost`: what is written is there, unheard."""

    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.cut_off = False
        self.answers_lost = False
        self.checks_versions = True
        self.calls: list[str] = []

    async def get(
        self, resource: Resource, namespace: str, name: str, *, seconds: float = 1.0
    ) -> dict[str, Any] | None:
        del resource, seconds
        self._called("get")
        return copy.deepcopy(self.server.leases.get((namespace, name)))

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        del resource, labels
        self._called("list")
        return [{}] if (namespace, fields.partition("=")[2]) in self.server.pods else []

    async def claim(self, resource: Resource, namespace: str, body: dict[str, Any], manager: str) -> dict[str, Any]:
        del resource, manager
        self._called("claim")
        if namespace in self.server.closing:
            raise NotFoundError(404, "NotFound", f"namespaces {namespace} not found")
        place = namespace, body["metadata"]["name"]
        if place in self.server.leases:
            raise ConflictError(409, "Conflict", "another manager has it")
        return self._answered(self.server.write(place, body))

    async def replace(
        self, resource: Resource, namespace: str, body: dict[str, Any], *, seconds: float
    ) -> dict[str, Any]:
        del resource, seconds
        self._called("replace")
        place = namespace, body["metadata"]["name"]
        found = self.server.leases.get(place)
        if found is None:
            raise NotFoundError(404, "NotFound", "it is gone")
        if self.checks_versions and found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another version")
        return self._answered(self.server.write(place, body))

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.cut_off:
            raise UnreachableError(0, "Unreachable", "cut off")

    def _answered(self, found: dict[str, Any]) -> dict[str, Any]:
        if self.answers_lost:
            raise UnreachableError(0, "Unreachable", "no answer")
        return found


def refused(api: LeaseApi, error: ApiError) -> None:
    """Every write of it ends so from now on."""

    async def refuse(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    api.claim = api.replace = refuse  # type: ignore[method-assign,assignment]
