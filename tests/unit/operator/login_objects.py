"""Objects of a cluster with one DatabaseLogin, as the API server gives them."""

from __future__ import annotations

import base64
from typing import Any

from slipway_operator.cluster import ForbiddenError, Resource
from slipway_operator.logins.address import Address, files
from slipway_operator.secret_objects import manifest
from unit.operator.memory_api import MemoryApi

NAMESPACE, NAME = "one", "shop"
ROLES = ("shop_a", "shop_b")
HOME = Address("127.0.0.1", 1, "shop")
"""Nobody listens there."""
ADMIN_PASSWORD = "admins-own-word"
WRITTEN, ADMIN_SECRET = "shop-login", "shop-admin"


class Cluster(MemoryApi):
    """`hidden`: names of Secrets that may not be read."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[str] = set()
        self.put("databaselogins", login())
        self.put("secrets", secret(ADMIN_SECRET, files(HOME, "admin", ADMIN_PASSWORD)))

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        if resource.plural == "secrets" and name in self.hidden:
            raise ForbiddenError(403, "Forbidden", f"secrets {name} is forbidden")
        return await super().get(resource, namespace, name)


def login() -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "DatabaseLogin",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": "u-1", "resourceVersion": "7", "generation": 1},
        "spec": {
            "admin": {"secretName": ADMIN_SECRET},
            "memberOf": "shop",
            "roles": list(ROLES),
            "secretName": WRITTEN,
            "consumers": {"selector": {"matchLabels": {"app": "shop"}}},
        },
    }


def secret(name: str, data: dict[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    metadata = {"name": name, "namespace": NAMESPACE, "resourceVersion": "3"}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": encoded}


def written(role: str = ROLES[0], word: str = "pods-word", address: Address = HOME) -> dict[str, Any]:
    """The Secret as the operator wrote it."""
    data = files(address, role, word)
    return manifest(login(), WRITTEN, data, type_="Opaque", cause="Nonce", nonce="n", owned=True, version="3")


def migration() -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": NAMESPACE, "uid": "u-2", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"database": {"secretName": "shop-owner"}}}


def job(purpose: str = "expand", owner: str = "shop", **condition: str) -> dict[str, Any]:
    """A Job of a SchemaMigration; `condition` e.g. Complete="True"."""
    return {
        "metadata": {
            "name": f"shop-{purpose}",
            "labels": {
                "app.kubernetes.io/managed-by": "slipway-operator",
                "app.kubernetes.io/component": "migrate",
                "slipway.dev/purpose": purpose,
            },
            "ownerReferences": [{"kind": "SchemaMigration", "name": owner}] if owner else [],
        },
        "spec": {"template": {"spec": {}}},
        "status": {"conditions": [{"type": kind, "status": status} for kind, status in condition.items()]},
    }
