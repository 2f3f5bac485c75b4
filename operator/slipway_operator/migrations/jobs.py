"""Jobs of a SchemaMigration, as they are made. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from slipway_operator.migrations.model import Memory, Plan, Purpose, Spec, Trouble
from slipway_operator.migrations.names import (
    ATTEMPT,
    CONTAINERS,
    PLAN_KEY,
    TEMPLATE,
    job_name,
    labels,
    script_config_map,
)
from slipway_operator.migrations.script import SCRIPT_FILE
from slipway_operator.migrations.template import SCRIPT_FOLDER, RefusedError, pod_spec

KEPT_FOR = 24 * 3600
"""Seconds that a Job that has ended stays, with its log."""
KEPT_SHORTER = 1800
_PATIENCE = "--patience=60"  # seconds that a command waits for a database or another runner


def owner_reference(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
    }


def arguments(spec: Spec, purpose: Purpose, plan: Plan | None) -> list[str]:
    """What follows the command that plans and runs."""
    match purpose:
        case "plan" | "withdraw" | "announce":
            return [purpose, "--marked", _PATIENCE]
        case "expand" | "contract":
            phase = "expand" if purpose == "expand" else "all"
            limits = [
                f"--lock-timeout={spec.lock_timeout:.0f}",
                f"--statement-timeout={spec.statement_timeout:.0f}",
                f"--budget={spec.budget:.0f}",
            ]
            return ["upgrade", f"--phase={phase}", "--marked", _PATIENCE, *limits, *_expected(spec, purpose, plan)]
        case "backup":
            raise AssertionError("a backup runs the command of its CronJob")


def _expected(spec: Spec, purpose: Purpose, plan: Plan | None) -> list[str]:
    """What was approved is what may run.

    So too for a contract that nobody approved: pods were held against the planned one, not against what a tag brings
    that was moved since.
    """
    if plan is None or (spec.approval == "Never" and purpose != "contract"):
        return []
    return [f"--expect={one.id}:{one.sql_digest}" for one in plan.revisions if one.sql_digest]


def command(spec: Spec) -> list[str]:
    if spec.config is not None:
        return ["python", f"{SCRIPT_FOLDER}/{SCRIPT_FILE}", f"--config={spec.config}"]
    return list(spec.command or ("slipway", "db"))


def migration_job(
    resource: Mapping[str, Any],
    spec: Spec,
    memory: Memory,
    purpose: Purpose,
    attempt: int,
    deployment: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A Job that runs the image's own command, of the memory's round and plan. Raises RefusedError."""
    if deployment is None:
        text = f"Deployment {spec.workload} isn't there; the Job's environment and volumes are copied from it."
        raise RefusedError(Trouble("WorkloadMissing", text))
    script = script_config_map(resource["metadata"]["name"]) if spec.config is not None else None
    pod = pod_spec(deployment, spec, command(spec), arguments(spec, purpose, memory.plan), script)
    metadata = _metadata(resource, memory.plan_key, purpose, attempt, pod)
    wished = dict(spec.job_annotations)
    asked = {"annotations": wished, **pod} if wished else pod
    ours = {**metadata["annotations"], TEMPLATE: sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}
    metadata["annotations"] = {**wished, **ours}
    pods = {"labels": metadata["labels"], **({"annotations": wished} if wished else {})}
    body = {
        "backoffLimit": 0,
        # A plan that was given up is asked for again every few minutes: its Jobs mustn't pile up for a day.
        "ttlSecondsAfterFinished": KEPT_FOR if attempt <= spec.retries else KEPT_SHORTER,
        # Another pod only once this one has certainly ended.
        "podReplacementPolicy": "Failed",
        "template": {"metadata": pods, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body}


def backup_job(
    resource: Mapping[str, Any], spec: Spec, memory: Memory, attempt: int, cron_job: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A Job as the CronJob would make it now. Raises RefusedError."""
    if cron_job is None:
        text = f"CronJob {spec.backup} isn't there, so no backup can be made before the contract; correct spec.backup."
        raise RefusedError(Trouble("BackupMissing", text))
    origin = cron_job["spec"]["jobTemplate"]
    template = origin["spec"]["template"]
    metadata = _metadata(resource, memory.plan_key, "backup", attempt, template["spec"])
    pods = template.get("metadata") or {}
    ours = {key: value for key, value in metadata["labels"].items() if key.startswith("slipway.dev/")}
    body = {
        **{key: value for key, value in origin["spec"].items() if key not in ("selector", "manualSelector", "suspend")},
        "ttlSecondsAfterFinished": KEPT_FOR,
        # Its own labels stay, because its own network policy goes by them.
        "template": {**template, "metadata": {**pods, "labels": {**(pods.get("labels") or {}), **ours}}},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body}


def _metadata(
    resource: Mapping[str, Any], plan_key: str, purpose: Purpose, attempt: int, pod: Mapping[str, Any]
) -> dict[str, Any]:
    of, containers = resource["metadata"], ",".join(one["name"] for one in pod["containers"])
    return {
        "name": job_name(of["name"], of["uid"], plan_key, purpose, attempt),
        "namespace": of["namespace"],
        "labels": labels(of["name"], purpose),
        "annotations": {PLAN_KEY: plan_key, ATTEMPT: str(attempt), CONTAINERS: containers},
        "ownerReferences": [owner_reference(resource)],
    }
