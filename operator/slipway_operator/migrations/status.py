"""The status of a SchemaMigration: what the operator remembers, and what people read. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway_operator.conditions import Condition, by_state, cut, merged
from slipway_operator.migrations.model import (
    Contracted,
    Decision,
    Finding,
    JobSeen,
    Memory,
    Plan,
    Revision,
    Run,
    Trouble,
    Verdict,
)
from slipway_operator.times import seconds, timestamp

HISTORY_LIMIT = 100
FINDINGS_LIMIT = 100
CONTRACTS_LIMIT = 1000
MESSAGE_LIMIT = 4096
_TOOK = re.compile(r"(\d+)s")


def memory_of(status: Mapping[str, Any]) -> Memory:
    """What a former look wrote; of a status that never was written, nothing."""
    plan, failure = status.get("plan"), status.get("failure")
    announced_at = status.get("announcedAt")
    return Memory(
        plan_key=status.get("planKey", ""),
        plan=_plan_of(plan) if plan else None,
        image_id=status.get("imageID", ""),
        revision=status.get("revision", ""),
        done=frozenset(status.get("done") or ()),
        attempts=dict(status.get("attempts") or {}),
        ended=status.get("lastJob", ""),
        announced_at=seconds(announced_at) if announced_at else None,
        approved=status.get("approvedDigest", ""),
        failure=Trouble(failure["reason"], failure["message"], failure.get("lasting", False)) if failure else None,
        failed_at=seconds(failure["at"]) if failure and "at" in failure else None,
        history=tuple(_run_of(run) for run in status.get("history") or ()),
        contracted=_contracted_of(status.get("contracted")),
    )


def _contracted_of(found: Mapping[str, Any] | None) -> Contracted | None:
    return Contracted(found["image"], tuple(found["revisions"]), found.get("applied", False)) if found else None


def document(
    decision: Decision, jobs: tuple[JobSeen, ...], former: Mapping[str, Any], generation: int, sql_key: str, now: float
) -> dict[str, Any]:
    """The whole status, within the bounds of its definition.

    `generation`: of the resource that was read. `sql_key`: the plan's in its ConfigMap.
    """
    memory, verdict = decision.memory, decision.verdict
    active = next((job.name for job in jobs if job.active), "")
    found: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merged(_conditions(verdict), former.get("conditions") or (), generation, now),
        # While it is suspended no step is being taken, and without a plan nobody knows what is pending.
        "phase": verdict.phase if verdict.state != "Suspended" else "",
        "pending": len(verdict.pending) if verdict.planned else None,
        "attempt": len(memory.done) + sum(memory.attempts.values()),
        "revision": memory.revision,
        "target": memory.plan.target if memory.plan else "",
        "imageID": memory.image_id,
        "job": active or memory.ended,
        "planKey": memory.plan_key,
        "done": sorted(memory.done),
        "attempts": dict(sorted(memory.attempts.items())),
        "lastJob": memory.ended,
        "announcedAt": timestamp(memory.announced_at) if memory.announced_at is not None else "",
        "approvedDigest": memory.approved,
        "failure": _failure(memory),
        "plan": _plan(memory.plan, sql_key) if memory.plan else None,
        "history": [_run(run) for run in memory.history[:HISTORY_LIMIT]],
        "contracted": _contracted(memory.contracted),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [], {})}


def _conditions(verdict: Verdict) -> tuple[Condition, ...]:
    """Sentences go with True of ContractPending and with False of RollbackSafe."""
    pending, unsafe = verdict.contract_pending, verdict.rollback_unsafe
    told = by_state(verdict.state, verdict.reason, verdict.message)
    if verdict.rewritten:
        told = (*told, Condition("ImageRewritten", "True", "ImageRewritten", verdict.rewritten))
    if not verdict.planned and not unsafe:
        text = "There is no plan of this wish yet."
        return (
            *told,
            *(Condition(kind, "Unknown", "NotPlanned", text) for kind in ("ContractPending", "RollbackSafe")),
        )
    return (
        *told,
        Condition("ContractPending", "True", "ContractsLeft", pending)
        if pending
        else Condition("ContractPending", "False", "NoContracts", "No contract is left to run."),
        Condition("RollbackSafe", "False", verdict.rollback_reason, unsafe)
        if unsafe
        else Condition("RollbackSafe", "True", "NothingBroken", "No contract keeps the image before from running."),
    )


def _contracted(known: Contracted | None) -> dict[str, Any] | None:
    if known is None:
        return None
    revisions = list(known.revisions[-CONTRACTS_LIMIT:])
    return {"image": known.image, "revisions": revisions, "applied": known.applied}


def _failure(memory: Memory) -> dict[str, Any] | None:
    if memory.failure is None:
        return None
    found = {
        "reason": memory.failure.reason,
        "message": cut(memory.failure.message, MESSAGE_LIMIT),
        "lasting": memory.failure.lasting,
    }
    return found if memory.failed_at is None else {**found, "at": timestamp(memory.failed_at)}


def _plan(plan: Plan, sql_key: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "digest": plan.digest,
        "current": plan.current,
        "target": plan.target,
        "partial": plan.partial,
        "revisions": [_revision(revision) for revision in plan.revisions],
        "foreign": list(plan.foreign),
        "findings": [_finding(finding) for finding in plan.findings[:FINDINGS_LIMIT]],
    }
    return {**found, "sql": {"name": plan.config_map, "key": sql_key}} if plan.config_map else found


def _plan_of(found: Mapping[str, Any]) -> Plan:
    return Plan(
        digest=found["digest"],
        current=found.get("current", ""),
        target=found.get("target", ""),
        revisions=tuple(
            Revision(
                id=one["id"],
                kind=one["kind"],
                message=one.get("message", ""),
                sql_digest=one.get("sqlDigest"),
                announced=one.get("announced", False),
            )
            for one in found.get("revisions") or ()
        ),
        foreign=tuple(found.get("foreign") or ()),
        findings=tuple(
            Finding(one["rule"], one["level"], one.get("revision", ""), one.get("message", ""))
            for one in found.get("findings") or ()
        ),
        partial=found.get("partial", False),
        config_map=(found.get("sql") or {}).get("name"),
    )


def _revision(revision: Revision) -> dict[str, Any]:
    found = {"id": revision.id, "kind": revision.kind, "message": revision.message, "announced": revision.announced}
    return {**found, "sqlDigest": revision.sql_digest} if revision.sql_digest else found


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "revision": finding.revision,
        "message": finding.message,
    }


def _run(run: Run) -> dict[str, Any]:
    """`took` in whole seconds."""
    return {
        "from": run.origin,
        "to": run.to,
        "image": run.image,
        "started": timestamp(run.started),
        "took": f"{run.took:.0f}s",
        "result": run.result,
    }


def _run_of(found: Mapping[str, Any]) -> Run:
    took = _TOOK.fullmatch(found.get("took", ""))
    return Run(
        to=found["to"],
        image=found["image"],
        started=seconds(found["started"]),
        took=float(took[1]) if took else 0.0,
        result=found["result"],
        origin=found.get("from", ""),
    )
