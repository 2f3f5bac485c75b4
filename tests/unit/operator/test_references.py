"""How many pods a workload wants, and which of them hold a Secret."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.evidence.references import has_ended, is_ours, runs, secrets_of, template, wanted

OURS = {"app.kubernetes.io/managed-by": "slipway-operator", "app.kubernetes.io/component": "migrate"}


def workload(status: dict[str, Any] | None = None, generation: int = 2, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("kind", "found", "pods"),
    [
        ("deployments", workload(), 1),
        ("deployments", workload(replicas=0), 0),
        ("statefulsets", workload(replicas=3), 3),
        ("daemonsets", workload(), 1),
        ("daemonsets", workload({"observedGeneration": 1, "desiredNumberScheduled": 5}), 1),
        ("daemonsets", workload({"observedGeneration": 2, "desiredNumberScheduled": 5}), 5),
        ("daemonsets", workload({"observedGeneration": 2}), 0),
        ("cronjobs", workload(), 0),
        ("cronjobs", workload({"active": [{}, {}]}), 2),
        ("jobs", workload(), 1),
        ("jobs", workload(parallelism=4), 4),
        ("jobs", workload(parallelism=4, suspend=True), 0),
    ],
)
def test_a_workload_wants_what_its_spec_or_an_up_to_date_status_says(
    kind: str, found: dict[str, Any], pods: int
) -> None:
    assert wanted(kind, found) == pods


POD: dict[str, Any] = {"containers": []}


def made(kind: str, owners: tuple[dict[str, Any], ...] = (), ended: str = "", **spec: Any) -> bool:
    labels = spec.pop("labels", {})
    whole = {"template": {"metadata": {"labels": labels}, "spec": POD}, **spec}
    conditions = [{"type": ended, "status": "True"}] if ended else [{"type": "Complete", "status": "False"}]
    found = template(
        kind, {"metadata": {"ownerReferences": owners}, "spec": whole, "status": {"conditions": conditions}}
    )
    assert found in (POD, None)
    return found is not None


def test_a_replica_set_stands_for_itself_unless_it_is_another_s_and_wants_none() -> None:
    owner = ({"controller": True},)
    assert made("replicasets", owner)
    assert made("replicasets", owner, replicas=1)
    assert not made("replicasets", owner, replicas=0)
    assert made("replicasets", ({"controller": False},), replicas=0)
    assert made("deployments", owner, replicas=0)


def test_a_job_that_has_ended_or_is_our_own_makes_no_pods_more() -> None:
    assert made("jobs")
    assert made("jobs", labels={"app.kubernetes.io/managed-by": "slipway-operator"})
    assert not made("jobs", labels=OURS)
    assert not made("jobs", ended="Complete")
    assert not made("jobs", ended="Failed")
    assert made("jobs", ended="Suspended")
    nightly = {"spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}}
    assert template("cronjobs", nightly) == POD


def test_a_secret_is_held_by_whichever_way_a_pod_names_it() -> None:
    assert secrets_of({}) == frozenset()
    pod = {
        "volumes": [
            {"secret": {"secretName": "volume"}},
            {"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "no"}}]}},
            {"configMap": {"name": "no"}},
        ],
        "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}, {"value": "no"}]}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "no"}}]}],
        "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "debug"}}}]}],
    }
    assert secrets_of(pod) == {"volume", "projected", "env", "from", "debug"}


def test_only_both_labels_make_a_pod_one_of_a_migration() -> None:
    assert is_ours(OURS)
    assert not any(is_ours({key: value}) for key, value in OURS.items())


@pytest.mark.parametrize(
    ("phase", "going", "running", "ended"),
    [
        ("Running", False, True, False),
        ("Pending", False, False, False),
        ("Succeeded", False, False, True),
        ("Failed", True, True, True),
        ("Running", True, True, False),
        ("Running", True, False, True),
    ],
)
def test_a_pod_has_ended_when_it_says_so_or_leaves_and_runs_nothing(
    phase: str, *, going: bool, running: bool, ended: bool
) -> None:
    containers = [{"state": {"terminated": {}}}, {"state": {"running": {}} if running else {}}]
    metadata = {"deletionTimestamp": "2026-11-30T00:00:00Z"} if going else {}
    pod = {"metadata": metadata, "status": {"phase": phase, "containerStatuses": containers}}
    assert (has_ended(pod), runs(pod)) == (ended, running)
    debugged = {**pod, "status": {"phase": phase, "ephemeralContainerStatuses": containers}}
    assert runs(debugged) == running
