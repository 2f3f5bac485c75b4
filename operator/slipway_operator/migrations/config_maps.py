"""Writes the ConfigMaps of a SchemaMigration, and never over one that is somebody else's."""

from __future__ import annotations

from typing import Any

from slipway_operator.cluster import CONFIG_MAPS, Api
from slipway_operator.migrations.model import Trouble
from slipway_operator.migrations.template import RefusedError


async def write(api: Api, body: dict[str, Any]) -> None:
    """Apply it. Raises RefusedError when its name is taken, ConflictError when that changes meanwhile, and ApiError."""
    metadata = body["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    found = await api.get(CONFIG_MAPS, namespace, name)
    if found is None:
        # Applied at once, it would take over what somebody made since the look. Its labels alone, so that all the rest
        # is owned by what is applied, and goes when that leaves it out.
        claim = {key: metadata[key] for key in ("name", "namespace", "labels")}
        empty = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": claim}
        found = await api.create(CONFIG_MAPS, namespace, empty)
    elif not metadata["labels"].items() <= (found["metadata"].get("labels") or {}).items():
        text = f"ConfigMap {name} is somebody else's and stays as it is. Remove it, or name this resource otherwise."
        raise RefusedError(Trouble("ConfigMapNotOurs", text, lasting=True))
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    await api.apply(CONFIG_MAPS, namespace, {**body, "metadata": {**metadata, **version}})
