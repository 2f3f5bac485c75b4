"""What a look at a release means: fine, under way, or somebody must act. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slipway_operator.plugin import advice
from slipway_operator.plugin.model import Finding, Report, Resource, Seen, Verdict, Workload

_OPERATIONS = "docs/operations.md#first-look"
_WAITS_FOR_PERSON = frozenset({"AwaitingApproval"})
"""Reasons that are no fault, and yet go on by nothing but somebody's word."""


def judge(seen: Seen) -> Report:
    """The verdict, with the most urgent of what was found first."""
    found = tuple(sorted(_found(seen), key=lambda each: _URGENCY[each.verdict]))
    if not found:
        pods = sum(each.available for each in seen.workloads)
        return Report(
            Verdict.FINE, f"{seen.release} is fine: {pods} pods serve, and nothing is under way.", "", "", (), seen
        )
    first = found[0]
    more = sum(each.verdict is first.verdict for each in found) - 1
    sentence = f"{first.sentence} ({more} more below)" if more else first.sentence
    return Report(first.verdict, sentence, first.command, first.page, found, seen)


_URGENCY = {Verdict.ACT: 0, Verdict.CHANGE: 1, Verdict.FINE: 2}


def _found(seen: Seen) -> Iterator[Finding]:
    """Causes before what follows from them."""
    yield from _of_dependencies(seen)
    operated = any(each.component == "operator" and each.available for each in seen.workloads)
    for resource in seen.resources:
        yield from _of_resource(resource, seen, operated=operated)
    # Pods of a release whose schema isn't there yet wait for it in Init.
    awaited = any(each.kind == "SchemaMigration" and each.state == "Reconciling" for each in seen.resources)
    for workload in seen.workloads:
        yield from _of_workload(workload, seen, awaited=awaited and workload.component != "operator")
    yield from _of_jobs(seen)


def _of_dependencies(seen: Seen) -> Iterator[Finding]:
    away = sorted(name for name, there in (seen.dependencies or {}).items() if not there)
    for name in sorted(away, key=lambda name: name != "postgresql"):
        effect = "requests that need it are refused" if name == "postgresql" else "the service works around it"
        runbook = "SlipwayDatabaseAway" if name == "postgresql" else "SlipwayDegraded"
        yield Finding(
            Verdict.ACT,
            f"{name} is away; {effect}.",
            f"kubectl -n {seen.namespace} get pods,endpointslices",
            f"docs/runbooks/{runbook}.md",
        )


def _of_workload(workload: Workload, seen: Seen, *, awaited: bool) -> Iterator[Finding]:
    of = f"{workload.available} of {workload.wanted} pods"
    if workload.wanted and not workload.ready and not awaited:
        yield Finding(
            Verdict.ACT,
            f"{workload.name} serves nobody: 0 of {workload.wanted} pods are ready.",
            f"kubectl -n {seen.namespace} describe pods -l {_selector(workload, seen)}",
            _OPERATIONS,
        )
    elif not workload.settled:
        yield Finding(
            Verdict.CHANGE,
            f"{workload.name} is rolling out: {workload.updated} of {workload.wanted} pods are new, {of} available.",
            f"kubectl -n {seen.namespace} rollout status deployment/{workload.name}",
        )


def _selector(workload: Workload, seen: Seen) -> str:
    return f"app.kubernetes.io/instance={seen.release},app.kubernetes.io/component={workload.component}"


def _of_resource(resource: Resource, seen: Seen, *, operated: bool) -> Iterator[Finding]:
    named = f"{resource.kind} {resource.name}"
    told = f"{named}: {resource.reason}. {resource.message}".strip()
    command, page = advice.command(resource, seen.namespace, seen.release), advice.page(resource)
    if resource.state == "Stalled" or resource.reason in _WAITS_FOR_PERSON:
        yield Finding(Verdict.ACT, told, command, page)
    elif resource.state == "Unseen" and not operated:
        yield Finding(
            Verdict.ACT,
            f"Nobody looks after {named}: no operator of this release is available.",
            "kubectl get deployments -A -l app.kubernetes.io/component=operator",
            "docs/runbooks/SlipwayOperatorDown.md",
        )
    elif resource.state in ("Reconciling", "Unseen"):
        yield Finding(
            Verdict.CHANGE, told, f"kubectl -n {seen.namespace} get {advice.SHORT[resource.kind]} {resource.name} -w"
        )


def _of_jobs(seen: Seen) -> Iterator[Finding]:
    if seen.jobs is not None and seen.jobs.dead:
        api = next((each.name for each in seen.workloads if each.component == "api"), seen.release)
        yield Finding(
            Verdict.ACT,
            f"{seen.jobs.dead} jobs were given up.",
            f"kubectl -n {seen.namespace} exec deployment/{api} -c api -- slipway jobs list",
            "docs/runbooks/SlipwayJobsDead.md",
        )
