"""A SchemaMigration's spec, understood."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from slipway_operator.migrations.model import Spec
from slipway_operator.specs import SpecError, seconds_of, selector_text

REPLAN = "slipway.dev/replan"
"""Annotation: another value asks for another plan, such as after a restore from a backup."""


def parse(resource: Mapping[str, Any]) -> Spec:
    """Read the spec of what the API server gave. Raises SpecError; the server's own checks leave little to refuse."""
    try:
        return _parse(resource)
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"The spec doesn't have the form of its definition (at {error}); apply the CRDs.") from error


def unfit(resource: Mapping[str, Any]) -> Spec:
    """Stands in for a spec that `parse` refuses."""
    return Spec("", "", "", "", "", plan_key(resource))


def plan_key(resource: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of what a plan depends on."""
    spec = resource.get("spec") or {}
    parts = {name: spec.get(name) for name in ("image", "workload", "database", "command", "config")}
    parts["replan"] = (resource["metadata"].get("annotations") or {}).get(REPLAN)
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _parse(resource: Mapping[str, Any]) -> Spec:
    spec = resource["spec"]
    command = spec.get("command")
    lint = spec.get("lint") or {}
    return Spec(
        image=spec["image"],
        workload=spec["workload"]["name"],
        container=spec["workload"]["container"],
        consumers=selector_text(spec["consumers"].get("selector") or {}),
        secret_name=spec["database"]["secretName"],
        plan_key=plan_key(resource),
        command=tuple(command) if command else None,
        config=spec.get("config"),
        approval=spec.get("approval", "Never"),
        approve=spec.get("approve"),
        fail_on=lint.get("failOn", "Error"),
        ignore=frozenset(lint.get("ignore") or ()),
        lock_timeout=seconds_of(spec.get("lockTimeout", "3s")),
        statement_timeout=seconds_of(spec.get("statementTimeout", "15m")),
        budget=seconds_of(spec.get("budget", "1h")),
        retries=spec.get("retries", 3),
        backup=(spec.get("backup") or {}).get("cronJobName"),
        job_annotations=tuple(sorted((spec.get("jobAnnotations") or {}).items())),
        history_limit=spec.get("historyLimit", 10),
        suspend=bool(spec.get("suspend")),
    )
