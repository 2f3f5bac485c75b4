"""A data structure with the calls of `cluster.Api`: objects by kind and name, and what was called.

It allows what the chart's Role allows, and nothing else.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from slipway_operator.cluster import Api, ApiError, ConflictError, Resource

CREATED = "2026-11-18T11:06:40Z"
ROLE = Path(__file__).parents[3] / "chart" / "templates" / "operator" / "rbac.yaml"
RIGHTS = {
    (resource, verb)
    for resources, verbs in re.findall(r"resources: \[(.*)\]\n(?:.*\n){0,3}? *verbs: \[(.*)\]", ROLE.read_text())
    for resource in resources.split(", ")
    for verb in verbs.split(", ")
}
UID = "involvedObject.uid"
ASKED = {"apply": ("", "patch"), "apply_status": ("/status", "patch"), "patch_status": ("/status", "patch")}
"""What a call needs: of which subresource, and the verb; of others it is their name."""


class MemoryApi(Api):
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.logs: dict[str, str | ApiError] = {}
        self.calls: list[str] = []
        self.faults: dict[str, ApiError] = {}

    def put(self, plural: str, *bodies: dict[str, Any]) -> None:
        for body in bodies:
            self.objects[plural, body["metadata"]["name"]] = body

    def all(self, plural: str) -> list[dict[str, Any]]:
        return [body for (kind, _), body in self.objects.items() if kind == plural]

    def _called(self, verb: str, resource: Resource) -> None:
        call = f"{verb} {resource.plural}"
        subresource, right = ASKED.get(verb, ("", verb))
        assert (f"{resource.plural}{subresource}", right) in RIGHTS, f"the operator may not {call}"
        self.calls.append(call)
        if call in self.faults:
            raise self.faults[call]

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        del namespace
        self._called("get", resource)
        return copy.deepcopy(self.objects.get((resource.plural, name)))

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """Terms `key=value` of labels only; events of one uid, others of one name."""
        del namespace
        self._called("list", resource)
        wanted = dict(term.split("=", 1) for term in labels.split(",") if term)
        field, _, value = fields.partition("=")
        return [
            copy.deepcopy(body)
            for body in self.all(resource.plural)
            if wanted.items() <= (body["metadata"].get("labels") or {}).items()
            and value in ("", body["involvedObject"]["uid"] if field == UID else body["metadata"]["name"])
        ]

    async def create(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        del namespace
        self._called("create", resource)
        if (resource.plural, body["metadata"]["name"]) in self.objects:
            raise ConflictError(409, "AlreadyExists", "it is there")
        made = {"uid": f"uid-{body['metadata']['name']}", "creationTimestamp": CREATED, "resourceVersion": "1"}
        body["metadata"] |= made
        self.put(resource.plural, body)
        return body

    async def apply(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        del namespace
        self._called("apply", resource)
        self.put(resource.plural, body)
        return body

    async def apply_status(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        del namespace
        self._called("apply_status", resource)
        found = self.objects[resource.plural, body["metadata"]["name"]]
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another version")
        found["status"] = body["status"]
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        return found

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        del namespace
        self._called("delete", resource)
        assert self.objects.pop((resource.plural, name))["metadata"]["uid"] == uid

    async def log(self, namespace: str, pod: str, *, container: str, tail: int | None = None, limit: int) -> str:
        del namespace, container, tail, limit
        self.calls.append("log")
        found = self.logs[pod]
        if isinstance(found, ApiError):
            raise found
        return found
