"""Writes a decision: the SQL, then the status that names it, an event when it is a transition, and one effect.

Each write is idempotent, and the status carries the version that was read. A crash between any two of them leaves
what the next look decides upon anew.
"""

from __future__ import annotations

import logging
from typing import Any

from slipway_operator.cluster import CRON_JOBS, JOBS, Api, ApiError, ConflictError, ForbiddenError
from slipway_operator.conditions import one_line
from slipway_operator.exclusion import Exclusion
from slipway_operator.migrations import config_maps, sql
from slipway_operator.migrations.jobs import backup_job, migration_job
from slipway_operator.migrations.model import CreateJob, Decision, DeleteJob, JobSeen, Phase, Purpose, Trouble
from slipway_operator.migrations.names import script_config_map
from slipway_operator.migrations.observe import MIGRATIONS, Look
from slipway_operator.migrations.report import MESSAGE_LIMIT
from slipway_operator.migrations.script import script_files
from slipway_operator.migrations.status import document
from slipway_operator.migrations.template import RefusedError
from slipway_operator.statuses import write_status
from slipway_operator.telemetry import JOBS as JOBS_TOTAL
from slipway_operator.telemetry import RESOURCES

log = logging.getLogger(__name__)

_INVALID = 422
_STEPS: dict[Phase, Purpose] = {"Expanding": "expand", "Contracting": "contract"}


async def manifest(api: Api, look: Look, decision: Decision) -> dict[str, Any] | None:
    """The Job that is to be made. Raises RefusedError when there is nothing to make it from."""
    effect = decision.effect
    if not isinstance(effect, CreateJob):
        return None
    resource, spec, memory = look.resource, look.observed.spec, decision.memory
    if effect.purpose == "backup":
        namespace = resource["metadata"]["namespace"]
        cron_job = await api.get(CRON_JOBS, namespace, spec.backup) if spec.backup else None
        return backup_job(resource, spec, memory, effect.attempt, cron_job)
    return migration_job(resource, spec, memory, effect.purpose, effect.attempt, look.deployment)


async def write(api: Api, look: Look, decision: Decision, now: float) -> bool:
    """SQL, status and event. False when somebody changed the resource since it was read: nothing else may follow.

    Raises RefusedError, before the status is written, when the SQL has no place.
    """
    resource = look.resource
    former = resource.get("status") or {}
    text = await _write_sql(api, look, decision)
    key = sql.key_of(text) if text else ((former.get("plan") or {}).get("sql") or {}).get("key", sql.PLAIN_KEY)
    wanted = document(decision, look.observed.jobs, former, resource["metadata"]["generation"], key, now)
    verdict = decision.verdict
    said = (verdict.state, verdict.reason, verdict.message)
    named = resource["kind"], resource["metadata"]["namespace"], resource["metadata"]["name"]
    RESOURCES.saw_migration(named, running_since(look.observed.jobs, decision), look.observed.spec.budget)
    if not await write_status(api, MIGRATIONS, resource, wanted, said, now, look.whole):
        return False
    _count_ended(look, decision)
    return True


def running_since(jobs: tuple[JobSeen, ...], decision: Decision) -> float | None:
    """When the first Job of the step that is being taken was made, tries that failed included; None: none is taken.

    What a person must mend, or hasn't approved, doesn't run.
    """
    memory, verdict = decision.memory, decision.verdict
    purpose = _STEPS.get(verdict.phase) if verdict.state == "Reconciling" else None
    return min(
        (job.created for job in jobs if job.purpose == purpose and job.plan_key == memory.plan_key), default=None
    )


def _count_ended(look: Look, decision: Decision) -> None:
    """Each Job once: when the memory that has it is written."""
    for job in look.observed.jobs:
        if job.name == decision.memory.ended != look.observed.memory.ended:
            JOBS_TOTAL.labels(job.purpose, job.state).inc()


async def _write_sql(api: Api, look: Look, decision: Decision) -> str:
    """The text that was written; empty for none. Only the look that read a plan has its SQL."""
    plan = decision.memory.plan
    text = look.sql.get(plan.digest, "") if plan else ""
    if plan is not None and plan.config_map is not None and text:
        body = sql.config_map(look.resource, plan.config_map, text)
        await config_maps.write(api, body)
    return text


async def _theirs(api: Api, look: Look, name: str) -> Trouble | None:
    """Trouble when the Job of that name isn't one that this resource made; None when it is, or has gone meanwhile."""
    metadata = look.resource["metadata"]
    found = await api.list(JOBS, metadata["namespace"], fields=f"metadata.name={name}")
    owners = [owner for job in found for owner in job["metadata"].get("ownerReferences") or ()]
    if not found or any(owner.get("controller") and owner["uid"] == metadata["uid"] for owner in owners):
        return None
    return Trouble(
        "JobNotOurs", f"Job {name} is somebody else's and stays as it is. Remove it, so that ours can be made."
    )


async def effect(
    api: Api, exclusion: Exclusion, look: Look, decision: Decision, job: dict[str, Any] | None
) -> Trouble | None:
    """What the decision does. Trouble: the server refuses the Job, or somebody else's has its name."""
    namespace = look.resource["metadata"]["namespace"]
    if isinstance(decision.effect, DeleteJob):
        name = decision.effect.name
        await api.delete(JOBS, namespace, name, uid=look.uids[name])
    if job is None:
        return None
    try:
        if look.observed.spec.config is not None:
            name = script_config_map(look.observed.name)
            await config_maps.write(api, sql.script_config_map(look.resource, name, script_files()))
        # While a login changes in the database no Job begins; the login's side lists Jobs under the same lock.
        async with exclusion.held(namespace):
            await api.create(JOBS, namespace, job)
    except ConflictError as error:
        return await _theirs(api, look, job["metadata"]["name"]) if error.reason == "AlreadyExists" else None
    except RefusedError as error:
        return error.trouble
    except ApiError as error:
        if isinstance(error, ForbiddenError) or error.status == _INVALID:
            return Trouble("JobRefused", one_line(f"The cluster refuses the Job: {error}", MESSAGE_LIMIT))
        raise
    if isinstance(decision.effect, CreateJob):
        JOBS_TOTAL.labels(decision.effect.purpose, "created").inc()
    log.info("Job %s is made.", job["metadata"]["name"])
    return None
