"""Pods of a node that is lost: it is there, without a kubelet, so nothing more is heard of what ran on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import time
from typing import Any

from cluster.model import Cluster

GHOST = "ghost"
LONG = 3600.0
"""Seconds; after ten minutes only a person can help."""


@contextmanager
def lost_pod(
    cluster: Cluster, namespace: str, name: str, template: dict[str, Any], image_id: str = "", ago: float = LONG
) -> Iterator[None]:
    """A pod of that template, whose node was lost so many seconds ago. Afterwards both are gone, by the way out."""
    kubectl, scope = cluster.kubectl, f"--namespace={namespace}"
    spec = {**template["spec"], "nodeName": GHOST}
    metadata = {"name": name, "labels": template.get("metadata", {}).get("labels", {})}
    kubectl.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": GHOST}}])
    try:
        kubectl.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}], namespace)
        _silent(cluster, namespace, name, spec, image_id, ago)
        yield
    finally:
        # Here its pods go at once, elsewhere within a minute of the node's end.
        kubectl.run("delete", "node", GHOST, "--ignore-not-found")
        kubectl.run("delete", "pod", name, scope, "--grace-period=0", "--force", "--ignore-not-found")


def _silent(
    cluster: Cluster, namespace: str, name: str, spec: dict[str, Any], image_id: str = "", ago: float = LONG
) -> None:
    """What its kubelet would have told, and what the controller of nodes makes of its readiness."""
    since = datetime.fromtimestamp(time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": status, "lastTransitionTime": since}
        for kind, status in (("PodScheduled", "True"), ("ContainersReady", "True"), ("Ready", "False"))
    ]
    containers = [
        {
            **{key: one[key] for key in ("name", "image")},
            "imageID": image_id,
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": since}},
        }
        for one in spec["containers"]
    ]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": containers}
    words = ("patch", "pod", name, f"--namespace={namespace}", "--subresource=status", "--type=merge")
    cluster.kubectl.run(*words, f"--patch={json.dumps({'status': status})}")
