"""Names and labels of what belongs to a SchemaMigration: the same for the same wish, so a restart finds its own."""

from __future__ import annotations

from hashlib import sha256

from slipway_operator.migrations.model import Purpose

OWNER_LABEL = "slipway.dev/schemamigration"
PURPOSE_LABEL = "slipway.dev/purpose"
PLAN_KEY = "slipway.dev/plan-key"
ATTEMPT = "slipway.dev/attempt"
TEMPLATE = "slipway.dev/template"
"""Annotation of a Job: hash of the pod that was asked for, before the API server added its defaults."""
CONTAINERS = "slipway.dev/containers"
"""Annotation of a Job: names of the containers that were asked for, the one whose log tells first."""
_LABEL_LIMIT = 63
_NAME_LIMIT = 253


def shortened(name: str, limit: int) -> str:
    """The name, or its beginning and a hash of it."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9].rstrip('-.')}-{_hash(name)}"


def job_name(name: str, uid: str, plan_key: str, purpose: Purpose, attempt: int) -> str:
    """A pod's name is made from it, so it has neither dots nor more than 63 characters."""
    tail = f"{purpose}-{_hash(uid, plan_key, purpose, str(attempt))}"
    head = name.replace(".", "-")[: _LABEL_LIMIT - len(tail) - 1].rstrip("-")
    return f"{head}-{tail}"


def plan_config_map(name: str) -> str:
    return f"{shortened(name, _NAME_LIMIT - len('-plan'))}-plan"


def script_config_map(name: str) -> str:
    return f"{shortened(name, _NAME_LIMIT - len('-script'))}-script"


def owner_label(name: str) -> str:
    return shortened(name, _LABEL_LIMIT)


def labels(name: str, purpose: Purpose) -> dict[str, str]:
    """Of Jobs and their pods. The workload's own are never copied: its Service must not find these pods."""
    return {
        "app.kubernetes.io/managed-by": "slipway-operator",
        "app.kubernetes.io/component": "migrate",
        OWNER_LABEL: owner_label(name),
        PURPOSE_LABEL: purpose,
    }


def _hash(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:8]
