"""What an account did, by the API server's audit log, against what its Role lets it do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cluster.errors import ClusterError
from cluster.model import Cluster

Right = tuple[str, str, str]
"""API group, resource (with `/` and the subresource), verb."""


@dataclass(frozen=True)
class Request:
    right: Right
    status: int
    uri: str


def requests_of(cluster: Cluster, namespace: str, account: str) -> Iterator[Request]:
    """Those about resources. Raises ClusterError where the audit log isn't ours to read."""
    if cluster.audit_log is None:
        raise ClusterError("this cluster's audit log can't be read here")
    user = f"system:serviceaccount:{namespace}:{account}"
    for path in sorted(cluster.audit_log.parent.glob(f"{cluster.audit_log.stem}*{cluster.audit_log.suffix}")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if user in line and (request := _request(json.loads(line), user)):
                yield request


def _request(event: dict[str, Any], user: str) -> Request | None:
    about = event.get("objectRef")
    if event["user"]["username"] != user or not about or "resource" not in about:
        return None
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    right = (about.get("apiGroup", ""), resource, event["verb"])
    return Request(right, event.get("responseStatus", {}).get("code", 0), event["requestURI"])


def used(requests: Iterator[Request]) -> set[Right]:
    """The rights that they took. Applying what isn't there yet takes `create` beside `patch`."""
    found = set()
    for request in requests:
        found.add(request.right)
        group, resource, verb = request.right
        if verb == "patch" and request.status == HTTPStatus.CREATED:
            found.add((group, resource, "create"))
    return found


def allowed(role: dict[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
