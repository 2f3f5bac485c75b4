"""One fresh look at all that a decision about a schema migration rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway_operator.cluster import DEPLOYMENTS, EVENTS, JOBS, PODS, Api, ApiError, Resource, UnreachableError
from slipway_operator.migrations import sight, trouble
from slipway_operator.migrations.jobs import migration_job
from slipway_operator.migrations.lint import LintError, lint
from slipway_operator.migrations.model import JobSeen, Memory, Observed, Plan, PodSeen, Spec, Trouble
from slipway_operator.migrations.names import OWNER_LABEL, TEMPLATE, owner_label, plan_config_map
from slipway_operator.migrations.remember import PLAN_CHANGED, held_back, unrecorded
from slipway_operator.migrations.report import NAMES_LIMIT, Report, UnreadableError, cut_short, left, progress, report
from slipway_operator.migrations.spec import parse, unfit
from slipway_operator.migrations.status import memory_of
from slipway_operator.migrations.template import RefusedError
from slipway_operator.reconciling import living
from slipway_operator.specs import SpecError
from slipway_operator.times import seconds

MIGRATIONS = Resource("slipway.dev", "v1alpha1", "schemamigrations")

HELD = 10.0
"""Seconds that containers which somebody injected may outlive the Job's own; most end by themselves."""
PATIENCE = 3.0
"""Seconds that a Job may take to start before events are asked what keeps it."""
LOG_PATIENCE = 120.0
"""Seconds that the log of a plan may be out of reach before the plan is asked for anew."""
TAIL_SECONDS, PLAN_SECONDS = 5.0, 15.0
"""A node that is lost answers nothing: the end of a log, or a plan in a log, isn't waited for any longer."""
PLAN_LOG_LIMIT = 8 * 1024 * 1024
TAIL_LINES = 50
TAIL_LIMIT = 64 * 1024
_SERVER_FAULT = 500


@dataclass(frozen=True, slots=True)
class Look:
    """What was observed, and the objects that writes need: the resource with its version, and what Jobs copy.

    `sql`: text of a plan that was read in this look, by the plan's digest. `uids`: of Jobs, by name.
    `whole`: else only the resource was looked at.
    """

    observed: Observed
    resource: dict[str, Any]
    deployment: dict[str, Any] | None = None
    sql: dict[str, str] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    whole: bool = True


async def look(api: Api, namespace: str, name: str, now: float) -> Look | None:
    """None when the resource is gone. What can't be reached raises ApiError: it is never taken for absent."""
    resource = await living(api, MIGRATIONS, namespace, name)
    if resource is None:
        return None
    memory = memory_of(resource.get("status") or {})
    uid = resource["metadata"]["uid"]
    try:
        spec = parse(resource)
    except SpecError as error:
        return unseen(resource, str(error))
    deployment = await api.get(DEPLOYMENTS, namespace, spec.workload)
    found = [
        replace(one, seen=_as_wished(one, resource, spec, memory, deployment))
        for one in await _jobs(api, resource, memory, now)
    ]
    # The last read before the decision, because it is what an irreversible step rests on.
    pods = await _consumers(api, namespace, spec, found, now) if _pods_count(memory, found) else ()
    observed = Observed(
        name,
        uid,
        spec,
        memory,
        sight.workload(deployment, spec) if deployment else None,
        pods,
        tuple(one.seen for one in found),
        created=seconds(resource["metadata"]["creationTimestamp"]),
    )
    sql = {one.seen.plan.digest: one.sql for one in found if one.seen.plan and one.sql}
    return Look(observed, resource, deployment, sql, {one.seen.name: one.uid for one in found})


def unseen(resource: dict[str, Any], spec_fault: str | None = None) -> Look:
    """What is known of a resource when nothing else can be seen."""
    metadata, memory = resource["metadata"], memory_of(resource.get("status") or {})
    observed = Observed(metadata["name"], metadata["uid"], unfit(resource), memory, None, spec_fault=spec_fault)
    return Look(observed, resource, whole=False)


def _as_wished(
    found: _Found, resource: dict[str, Any], spec: Spec, memory: Memory, deployment: dict[str, Any] | None
) -> JobSeen:
    """One that can't start, or failed, helps nobody any more when it would be made otherwise now.

    So a mended workload, or a longer budget, is taken up: the former is of an earlier wish, the latter outdated.
    """
    seen = found.seen
    stuck = seen.state == "starting" and seen.trouble is not None
    failed = seen.state == "failed" and memory.ended == seen.name
    if not (stuck or failed) or seen.plan_key != memory.plan_key or not found.template:
        return seen
    try:
        now = migration_job(resource, spec, memory, seen.purpose, seen.attempt, deployment)
    except RefusedError:
        return seen
    if now["metadata"]["annotations"][TEMPLATE] == found.template:
        return seen
    return replace(seen, plan_key="") if stuck else replace(seen, outdated=True)


def _pods_count(memory: Memory, found: list[_Found]) -> bool:
    """Pods matter only to contracts; with none to run, they aren't asked for."""
    plans = [memory.plan, *(one.seen.plan for one in found)]
    return any(revision.kind == "contract" for plan in plans if plan for revision in plan.revisions) and (
        "contract" not in memory.done or any(one.seen.plan for one in found)
    )


async def _consumers(api: Api, namespace: str, spec: Spec, found: list[_Found], now: float) -> tuple[PodSeen, ...]:
    ours = {one.uid for one in found}
    listed = await api.list(PODS, namespace, labels=spec.consumers)
    seen = [sight.pod(one, now) for one in listed if _owner(one) not in ours]
    return tuple(one for one in seen if one is not None)


@dataclass(frozen=True, slots=True)
class _Found:
    seen: JobSeen
    uid: str
    sql: str = ""
    template: str = ""


async def _jobs(api: Api, resource: Mapping[str, Any], memory: Memory, now: float) -> list[_Found]:
    metadata = resource["metadata"]
    labels = f"{OWNER_LABEL}={owner_label(metadata['name'])}"
    listed = [
        one for one in await api.list(JOBS, metadata["namespace"], labels=labels) if _owner(one) == metadata["uid"]
    ]
    bare = {one["metadata"]["uid"]: sight.job(one, ()) for one in listed}
    if not any(seen and _counts(seen, memory) for seen in bare.values()):
        return [
            _Found(seen, uid, template=_template(job))
            for job, (uid, seen) in zip(listed, bare.items(), strict=True)
            if seen
        ]
    pods = await api.list(PODS, metadata["namespace"], labels=labels)
    found = []
    for job in listed:
        own = sorted((one for one in pods if _owner(one) == job["metadata"]["uid"]), key=_created)
        seen = sight.job(job, own)
        if seen and seen.held_by and 0 <= now - (seen.ended or 0.0) < HELD:
            seen = replace(seen, state="running", ended=None, held_by=())
        if seen:
            found.append(await _with_details(api, job, own, seen, memory, now))
    return found


def _counts(seen: JobSeen, memory: Memory) -> bool:
    return seen.active or unrecorded(seen, memory)


async def _with_details(
    api: Api, job: dict[str, Any], pods: list[dict[str, Any]], seen: JobSeen, memory: Memory, now: float
) -> _Found:
    uid = job["metadata"]["uid"]
    template = _template(job)
    if not _counts(seen, memory):
        return _Found(seen, uid, template=template)
    match seen.state:
        case "starting":
            events = await _events(api, job, pods) if now - seen.created > PATIENCE else []
            return _Found(replace(seen, trouble=trouble.of_start(pods, events)), uid, template=template)
        case "running":
            gone = trouble.of_end(pods, now)
            said = "" if gone else await _last_words(api, job, pods, seen)
            # A sidecar may run while the image of the command can't be pulled.
            return _Found(replace(seen, trouble=gone or progress(said) or trouble.of_start(pods, ())), uid)
        case "failed":
            said = await _last_words(api, job, pods, seen)
            return _Found(replace(seen, trouble=trouble.of_failure(job, pods, said)), uid, template=template)
        case "succeeded":
            return await _succeeded(api, job, pods, seen, memory, now)


async def _succeeded(
    api: Api, job: dict[str, Any], pods: list[dict[str, Any]], seen: JobSeen, memory: Memory, now: float
) -> _Found:
    if seen.purpose == "plan":
        return await _planned(api, job, pods, seen, now)
    said = await _last_words(api, job, pods, seen)
    # Of more than that only the beginning was read: what its end says isn't known.
    if len(said.encode()) < TAIL_LIMIT and cut_short(said):
        text = f"Job {seen.name} ended with exit code 0, and didn't say that it is done: the image's own code ended it."
        seen = replace(seen, state="failed", trouble=Trouble("MigrationFailed", text))
    elif seen.purpose == "expand" and memory.plan is not None:
        stayed = left(said)
        planned = [one.id for one in held_back(memory.plan)][-NAMES_LIMIT:]
        if stayed is not None and stayed[-NAMES_LIMIT:] != planned:
            # Such as on a database that was empty when it was planned, and has been restored since.
            text = f"Job {seen.name} left other contracts than planned: database or image is another now."
            seen = replace(seen, state="failed", trouble=Trouble(PLAN_CHANGED, text))
    return _Found(seen, job["metadata"]["uid"], template=_template(job))


async def _planned(api: Api, job: dict[str, Any], pods: list[dict[str, Any]], seen: JobSeen, now: float) -> _Found:
    """With its plan; one that can't be read, or looked at by squawk, has failed."""
    uid = job["metadata"]["uid"]
    try:
        log = await _log(api, job, pods, PLAN_LOG_LIMIT, None)
    except ApiError:
        waits = Trouble("LogUnreachable", f"The log of Job {seen.name}, which has the plan, can't be reached now.")
        if now - (seen.ended or now) > LOG_PATIENCE:
            # Its node is lost, or as good as: another Job, elsewhere, can tell the same.
            return _Found(replace(seen, state="failed", trouble=waits), uid)
        return _Found(replace(seen, state="running", ended=None, trouble=waits), uid)
    try:
        told = report(log)
        plan = await _plan(told, _controller(job)["name"], seen.image_id)
    except (UnreadableError, LintError) as error:
        return _Found(replace(seen, state="failed", trouble=error.trouble), uid)
    return _Found(replace(seen, plan=plan), uid, told.sql if plan.config_map else "")


async def _plan(told: Report, name: str, image_id: str | None) -> Plan:
    if not image_id:
        raise UnreadableError("the id of the image that wrote it can't be told any more.")
    # On an empty database nobody waits for a lock, and no code runs that could break.
    findings = await lint(told.planned) if told.current else ()
    return told.plan(image_id, findings, plan_config_map(name) if told.planned else None)


async def _last_words(api: Api, job: Mapping[str, Any], pods: list[dict[str, Any]], seen: JobSeen) -> str:
    """What a command says of itself; a backup is somebody else's program."""
    return "" if seen.purpose == "backup" else await _log(api, job, pods, TAIL_LIMIT, TAIL_LINES)


async def _log(api: Api, job: Mapping[str, Any], pods: list[dict[str, Any]], limit: int, tail: int | None) -> str:
    """Of the Job's newest pod; empty when there is nothing of it. Raises ApiError when all of it can't be reached."""
    if not pods:
        return ""
    of = pods[-1]["metadata"]
    try:
        async with asyncio.timeout(PLAN_SECONDS if tail is None else TAIL_SECONDS):
            return await api.log(of["namespace"], of["name"], container=sight.container(job), limit=limit, tail=tail)
    except TimeoutError:
        if tail is None:
            raise UnreachableError(0, "Unreachable", f"The log of pod {of['name']} didn't come in time.") from None
        return ""
    except ApiError as error:
        away = error.status == 0 or error.status >= _SERVER_FAULT
        if away and tail is None:
            raise
        return ""  # what a Job says of its progress is worth no failed look


async def _events(api: Api, job: Mapping[str, Any], pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    about = pods[-1] if pods else job
    return await api.list(
        EVENTS, about["metadata"]["namespace"], fields=f"involvedObject.uid={about['metadata']['uid']}"
    )


def _template(job: Mapping[str, Any]) -> str:
    """Empty for a backup, which is made from another."""
    return str(job["metadata"].get("annotations", {}).get(TEMPLATE, ""))


def _owner(one: Mapping[str, Any]) -> str:
    """Uid of the controller; empty where there is none."""
    return str(_controller(one).get("uid", ""))


def _controller(one: Mapping[str, Any]) -> Mapping[str, Any]:
    references = one["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), {})


def _created(one: Mapping[str, Any]) -> tuple[str, str]:
    return one["metadata"]["creationTimestamp"], one["metadata"]["name"]
