"""The API server's answers as what is seen. Pure; whatever is missing in them is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from slipway_operator.plugin.model import Budget, Jobs, Resource, State, Workload

Kind = Literal["SchemaMigration", "KeyRing", "DatabaseLogin"]

INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
COMPONENTS = ("api", "worker", "operator")
"""In the order of showing."""

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>[-+0-9.eE]+)", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


def items(body: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(body)["items"]
    return found


def releases(deployments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that have an API or an operator of ours."""
    labels = [deployment["metadata"].get("labels") or {} for deployment in deployments]
    return sorted({each[INSTANCE] for each in labels if INSTANCE in each and each.get(COMPONENT) in COMPONENTS})


def workloads(deployments: Sequence[Mapping[str, Any]], release: str) -> tuple[Workload, ...]:
    found = [
        _workload(deployment)
        for deployment in deployments
        if (labels := deployment["metadata"].get("labels") or {}).get(INSTANCE) == release
        and labels.get(COMPONENT) in COMPONENTS
    ]
    return tuple(sorted(found, key=lambda each: (COMPONENTS.index(each.component), each.name)))


def _workload(deployment: Mapping[str, Any]) -> Workload:
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    containers = spec["template"]["spec"]["containers"]
    return Workload(
        name=metadata["name"],
        component=metadata["labels"][COMPONENT],
        image=containers[0].get("image", ""),
        wanted=spec.get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        total=status.get("replicas", 0),
        behind=status.get("observedGeneration", 0) < metadata.get("generation", 0),
    )


def resources(kind: Kind, found: Sequence[Mapping[str, Any]], release: str) -> tuple[Resource, ...]:
    """All but those that another release of the namespace has brought."""
    ours = [each for each in found if (each["metadata"].get("labels") or {}).get(INSTANCE, release) == release]
    return tuple(sorted((_resource(kind, each) for each in ours), key=lambda each: each.name))


def _resource(kind: Kind, found: Mapping[str, Any]) -> Resource:
    status = found.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    ready = conditions.get("Ready") or {}
    safe = conditions.get("RollbackSafe") or {}
    consumers = status.get("consumers") or {}
    return Resource(
        kind=kind,
        name=found["metadata"]["name"],
        state=_state(found, conditions),
        reason=ready.get("reason", "NotSeenYet"),
        message=ready.get("message", ""),
        facts={name: str(value) for name, value in _FACTS[kind](status) if value not in (None, "")},
        lagging=tuple(f"{each['pod']}: {each['reason']}" for each in consumers.get("lagging") or ()),
        plan=((status.get("plan") or {}).get("sql") or {}).get("name", ""),
        rollback_unsafe=safe.get("message", "") if safe.get("status") == "False" else "",
    )


def _state(found: Mapping[str, Any], conditions: Mapping[str, Any]) -> State:
    observed = (found.get("status") or {}).get("observedGeneration", -1)
    if observed < found["metadata"].get("generation", 0):
        return "Unseen"
    if (found.get("spec") or {}).get("suspend"):
        return "Suspended"
    states: tuple[State, ...] = ("Stalled", "Reconciling", "Ready")
    return next((state for state in states if (conditions.get(state) or {}).get("status") == "True"), "Unseen")


def _of_migration(status: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "revision", status.get("revision")
    yield "target", status.get("target")
    yield "pending", status.get("pending") or None
    yield "phase", status.get("phase")


def _of_rotation(status: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "signing", status.get("signing")
    yield "role", status.get("role")
    yield "since", status.get("signingSince") or status.get("roleSince")
    yield "next", status.get("nextRotation")
    consumers = status.get("consumers") or {}
    if consumers.get("running") is not None:
        yield "pods", f"{consumers.get('confirmed', 0)} of {consumers['running']} follow"


_FACTS = {"SchemaMigration": _of_migration, "KeyRing": _of_rotation, "DatabaseLogin": _of_rotation}


def samples(text: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Labels and values of a metric in Prometheus' text format."""
    for found in _SAMPLE.finditer(text):
        if found["name"] == name:
            yield dict(_LABEL.findall(found["labels"] or "")), float(found["value"])


def dependencies(metrics: bytes) -> dict[str, bool]:
    """By name, whether it is there, as one process of the API sees it."""
    told = samples(metrics.decode(errors="replace"), "slipway_degraded")
    return {labels["dependency"]: value == 0 for labels, value in told}


def jobs(metrics: bytes) -> Jobs | None:
    text = metrics.decode(errors="replace")
    told = [next(iter(samples(text, name)), None) for name in ("slipway_jobs_waiting", "slipway_jobs_dead")]
    waiting, dead = told
    if waiting is None or dead is None:
        return None
    oldest = next(iter(samples(text, "slipway_jobs_oldest_seconds")), ({}, 0.0))
    return Jobs(int(waiting[1]), int(dead[1]), oldest[1])


def budgets(body: bytes) -> tuple[Budget, ...]:
    """Of Prometheus' answer to `slipway:slo_budget_remaining:ratio30d`."""
    found = json.loads(body)["data"]["result"]
    told = [(each["metric"], float(each["value"][1])) for each in found]
    return tuple(Budget(metric.get("slo", ""), metric.get("slo_class", ""), left) for metric, left in told)
