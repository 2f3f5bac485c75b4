"""Objects of a cluster with one KeyRing, as the API server gives them, and pods that follow its Secret."""

from __future__ import annotations

import copy
from typing import Any

from slipway_operator.cluster import ConflictError, Resource, UnreachableError
from slipway_operator.keyrings.material import files, generate
from slipway_operator.keyrings.model import Cause
from slipway_operator.secret_objects import data_of, manifest
from unit.operator.memory_api import MemoryApi

NAMESPACE, NAME, SECRET = "one", "shop", "shop-keyring"


class Cluster(MemoryApi):
    """Writes of Secrets are held to their versions, as a server does; `nudged` names pods in their order.

    `answers_lost`: what is written is there, and whoever wrote it doesn't hear so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nudged: list[str] = []
        self.answers_lost = False

    @property
    def ring(self) -> dict[str, Any]:
        return self.objects["keyrings", NAME]

    @property
    def secret(self) -> dict[str, Any]:
        return self.objects["secrets", SECRET]

    def data(self) -> dict[str, bytes]:
        return data_of(self.secret)

    def edit(self, data: dict[str, bytes]) -> None:
        """By hand: the marks stay as they were."""
        body = manifest(ring(), SECRET, data, type_="Opaque", cause="", nonce="", owned=False, version=None)
        self.secret["data"] = body["data"]
        self._renew(self.secret)

    async def apply(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        found = self.objects.get((resource.plural, body["metadata"]["name"]))
        if found is not None and found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another version")
        applied = await super().apply(resource, namespace, copy.deepcopy(body))
        self._renew(applied)
        if self.answers_lost:
            raise UnreachableError(504, "Timeout", "no answer in time")
        return applied

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        del namespace, body
        self._called("patch_status", resource)
        self.nudged.append(name)
        return {}

    def _renew(self, body: dict[str, Any]) -> None:
        body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)


def ring(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "KeyRing",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": "u-1", "resourceVersion": "7", "generation": 1},
        "spec": {"secretName": SECRET, "consumers": {"selector": {"matchLabels": {"app": "shop"}}}, **spec},
    }


def key_set(count: int = 2) -> tuple[dict[str, bytes], list[str]]:
    """Files with that many new keys, and their ids; the first signs."""
    made = dict(generate("EdDSA") for _ in range(count))
    ids = list(made)
    return files(made.values(), ids[0]), ids


def written(data: dict[str, bytes], cause: Cause = "Created") -> dict[str, Any]:
    """The Secret as the operator wrote it."""
    return manifest(ring(), SECRET, data, type_="Opaque", cause=cause, nonce="", owned=False, version="3")
