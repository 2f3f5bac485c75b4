"""What the operator asked of Secrets and pods, by the audit log, against what its Role lets it ask."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from operated.audit import Request, Right, allowed, used

GROUP = "slipway.dev"
ROTATIONS_ALONE = {
    *((GROUP, f"{plural}{part}") for plural in ("keyrings", "databaselogins") for part in ("", "/status")),
    *(("", resource) for resource in ("secrets", "pods/status")),
}
"""API group and resource of what only rotations need."""
WORKLOADS: set[Right] = {
    *(("apps", kind, "list") for kind in ("deployments", "statefulsets", "daemonsets", "replicasets")),
    ("batch", "cronjobs", "list"),
}
"""Where no pod refers to a Secret; once one kind is seen that wants such pods, no further one is listed."""
SHARED = {("", "pods")}
"""Of what schema changes need too."""


def unused_by_rotations(role: dict[str, Any], requests: list[Request]) -> set[Right]:
    """Rights for schema changes alone are left out: where only keys and logins rotate, nothing uses them."""
    return {right for right in allowed(role) - used(iter(requests)) if _of_rotations(right) or right[:2] in SHARED}


def unused_by_migrations(role: dict[str, Any], requests: list[Request]) -> set[Right]:
    """The other way round: rights for rotations alone are left out."""
    return {right for right in allowed(role) - used(iter(requests)) if not _of_rotations(right)}


def _of_rotations(right: Right) -> bool:
    return right[:2] in ROTATIONS_ALONE or right in WORKLOADS


def named_secrets(request: Request) -> str | None:
    """The Secret that a request reads or changes; empty: all of them; None: it is about something else."""
    group, resource, verb = request.right
    if (group, resource) != ("", "secrets") or verb == "create":  # what is yet to be made has no name there
        return None
    parts = urlsplit(request.uri)
    _, _, name = parts.path.partition("/secrets")
    if name.strip("/"):
        return unquote(name.strip("/"))
    selector = parse_qs(parts.query).get("fieldSelector", [""])[0]
    field, _, value = selector.partition("=")
    return value if field == "metadata.name" else ""


def secrets_of(role: dict[str, Any]) -> set[str]:
    """Names of the Secrets that a Role lets somebody read or change; with an empty one where a rule names none."""
    names: set[str] = set()
    for rule in role["rules"]:
        if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
            names |= set(rule.get("resourceNames") or [""])
    return names
