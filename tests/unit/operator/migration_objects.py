"""Objects of a cluster and marked lines of a plan, as small as they can be."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

from slipway_operator.times import timestamp

IMAGE = "registry.example/shop:2"
IMAGE_ID = "registry.example/shop@sha256:" + "2" * 64
UID = "11111111-2222-3333-4444-555555555555"
NOW = 1_795_000_000.0


def resource(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "SchemaMigration",
        "metadata": {
            "name": "shop",
            "namespace": "one",
            "uid": UID,
            "creationTimestamp": timestamp(NOW - 100),
            "generation": 3,
            "resourceVersion": "7",
        },
        "spec": {
            "image": IMAGE,
            "workload": {"name": "shop", "container": "api"},
            "consumers": {"selector": {"matchLabels": {"app": "shop"}}},
            "database": {"secretName": "shop-owner"},
            **spec,
        },
    }
    return found if status is None else {**found, "status": status}


def deployment(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    template = {"containers": [{"name": "api", "image": IMAGE, **(container or {})}], **pod}
    return {
        "metadata": {"name": "shop", "namespace": "one", "generation": 4},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "shop"}}, "spec": template}},
        "status": {"observedGeneration": 4, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2},
    }


def revision(name: str, kind: str = "expand", sql: str | None = "SELECT 1;", **fields: Any) -> dict[str, Any]:
    digest = None if sql is None else hashlib.sha256(sql.encode()).hexdigest()
    found = {"id": name, "kind": kind, "message": "a change", "sql": sql, "sql_digest": digest, "announced": False}
    return {**found, **fields}


def plan_document(*revisions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "database": {"system": "7301", "name": "shop"},
        "current": "0001",
        "target": revisions[-1]["id"] if revisions else "0001",
        "partial": False,
        "foreign": [],
        "revisions": list(revisions),
        **fields,
    }


def marked(line: dict[str, Any]) -> str:
    return "slipway.dev/v1 " + json.dumps(line, separators=(",", ":"))


def plan_lines(document: Any, size: int = 4000) -> list[str]:
    data = zlib.compress(json.dumps(document).encode())
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [
        marked({"type": "plan", "part": n, "parts": len(pieces), "data": base64.b64encode(piece).decode()})
        for n, piece in enumerate(pieces, 1)
    ]


def plan_log(*revisions: dict[str, Any], **fields: Any) -> str:
    return "\n".join(["starting", *plan_lines(plan_document(*revisions, **fields)), ""])


def consumer(name: str, *init: tuple[str, dict[str, Any]], phase: str = "Running", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "creationTimestamp": timestamp(NOW - 100), "labels": {"app": "shop"}},
        "spec": {"initContainers": [{"name": one, **fields} for one, _ in init], "containers": [{"name": "api"}]},
        "status": {
            "phase": phase,
            "initContainerStatuses": [{"name": one, "state": state} for one, state in init],
            "containerStatuses": [{"name": "api", "imageID": IMAGE_ID, "state": {}}, {"name": "log", "imageID": ""}],
        },
    }
