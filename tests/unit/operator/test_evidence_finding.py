"""Who uses a Secret is found by reference; what the API server lists comes from memory."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.cluster import ForbiddenError, UnreachableError
from slipway_operator.evidence.finding import WORKLOADS, Found, find
from slipway_operator.evidence.lists import Lists
from unit.operator.memory_api import MemoryApi

SECRET = "keys"
KEY_REF = {"name": SECRET, "key": "signing"}
REFERENCES: dict[str, dict[str, Any]] = {
    "a volume": {"volumes": [{"name": "v", "secret": {"secretName": SECRET}}]},
    "a volume that is optional": {"volumes": [{"name": "v", "secret": {"secretName": SECRET, "optional": True}}]},
    "one source of a projected volume": {
        "volumes": [
            {"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": SECRET}}]}}
        ]
    },
    "env": {
        "containers": [{"env": [{"name": "A", "value": "b"}, {"name": "K", "valueFrom": {"secretKeyRef": KEY_REF}}]}]
    },
    "envFrom": {"containers": [{}, {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": SECRET}}]}]},
    "env of an init container": {
        "containers": [{}],
        "initContainers": [{"env": [{"name": "K", "valueFrom": {"secretKeyRef": {**KEY_REF, "optional": True}}}]}],
    },
    "envFrom of an ephemeral container": {"ephemeralContainers": [{"envFrom": [{"secretRef": {"name": SECRET}}]}]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "another Secret": {"volumes": [{"name": "v", "secret": {"secretName": "keys-2"}}]},
    "a ConfigMap of that name": {
        "volumes": [{"name": "v", "configMap": {"name": SECRET}}],
        "containers": [{"envFrom": [{"configMapRef": {"name": SECRET}}]}],
    },
    "a volume of that name": {"volumes": [{"name": SECRET, "emptyDir": {}}]},
    "a field and a key of that name": {
        "containers": [
            {
                "env": [
                    {"name": SECRET, "value": SECRET},
                    {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": SECRET}}},
                    {"name": "K", "valueFrom": {"secretKeyRef": {"name": "other", "key": SECRET}}},
                ]
            }
        ]
    },
    "a Secret to pull images with": {"imagePullSecrets": [{"name": SECRET}]},
}
USES = REFERENCES["a volume"]
OURS = {"app.kubernetes.io/managed-by": "slipway-operator", "app.kubernetes.io/component": "migrate"}


def pod(name: str = "a", spec: dict[str, Any] | None = None, state: str = "running", **metadata: Any) -> dict[str, Any]:
    status = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {state: {}}}]}
    return {"metadata": {"name": name, **metadata}, "spec": spec or {}, "status": status}


def workload(name: str = "w", pods: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "generation": 2}, "spec": {"template": {"spec": pods or USES}, **spec}}


def cron_job(active: int = 0, **spec: Any) -> dict[str, Any]:
    template = {"spec": {"template": {"spec": USES}}}
    status = {"active": [{"name": f"j{number}"} for number in range(active)]}
    return {"metadata": {"name": "w"}, "spec": {"jobTemplate": template, **spec}, "status": status}


def daemons(number: int, observed: int = 2) -> dict[str, Any]:
    return {**workload(), "status": {"desiredNumberScheduled": number, "observedGeneration": observed}}


def ended(kind: str) -> dict[str, Any]:
    return {**workload(), "status": {"conditions": [{"type": kind, "status": "True"}]}}


def owned(by: str, replicas: int = 0) -> dict[str, Any]:
    found = workload(replicas=replicas)
    found["metadata"]["ownerReferences"] = [{"kind": by, "name": "w", "controller": True}]
    return found


def holding(*objects: tuple[str, dict[str, Any]]) -> MemoryApi:
    api = MemoryApi()
    for plural, body in objects:
        api.put(plural, body)
    return api


async def found_in(api: MemoryApi, *asked: str) -> Found:
    return await find(Lists(api), *asked)


def shown(found: Found) -> tuple[list[str], bool, int]:
    return [pod["metadata"]["name"] for pod in found.pods], found.refers, found.wanted


@pytest.mark.parametrize("how", REFERENCES)
@pytest.mark.parametrize("selector", ["", "app=mistyped"])
async def test_a_pod_that_refers_to_the_secret_counts_whatever_the_selector_finds(how: str, selector: str) -> None:
    found = await found_in(holding(("pods", pod(spec=REFERENCES[how]))), "ships", SECRET, selector)
    assert shown(found) == (["a"], True, 0)


@pytest.mark.parametrize("how", OTHERS)
async def test_what_only_looks_like_a_reference_is_none(how: str) -> None:
    api = holding(("pods", pod(spec=OTHERS[how])), ("deployments", workload(pods=OTHERS[how] or {"volumes": []})))
    assert await found_in(api, "ships", SECRET, "") == Found()


async def test_the_selector_widens_and_a_pod_that_it_finds_proves_nothing_by_itself() -> None:
    chosen = pod("b", labels={"app": "ships"})
    assert shown(await found_in(holding(("pods", chosen)), "ships", SECRET, "app=ships")) == (["b"], False, 0)
    both = holding(("pods", chosen), ("pods", pod("a", USES, labels={"app": "ships"})))
    assert shown(await found_in(both, "ships", SECRET, "app=ships")) == (["a", "b"], True, 0)
    assert shown(await found_in(both, "ships", SECRET, "")) == (["a"], True, 0)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_has_ended_neither_counts_nor_refers(phase: str) -> None:
    over = pod(spec=USES, labels={"app": "ships"})
    over["status"]["phase"] = phase
    assert await found_in(holding(("pods", over)), "ships", SECRET, "app=ships") == Found()


async def test_a_pod_that_leaves_counts_until_its_container_has_ended() -> None:
    leaving = pod(spec=USES, deletionTimestamp="2026-11-22T12:00:00Z")
    assert shown(await found_in(holding(("pods", leaving)), "ships", SECRET, "")) == (["a"], True, 0)


async def test_a_pod_that_leaves_and_runs_no_more_is_not_waited_for() -> None:
    gone = pod(spec=USES, state="terminated", deletionTimestamp="2026-11-22T12:00:00Z")
    assert await found_in(holding(("pods", gone)), "ships", SECRET, "") == Found()
    stopped = holding(("pods", gone), ("deployments", workload(replicas=0)))
    assert shown(await found_in(stopped, "ships", SECRET, "")) == ([], True, 0)


async def test_where_only_pods_refer_that_do_not_run_yet_they_are_wanted() -> None:
    api = holding(("pods", pod("a", USES, "waiting")), ("pods", {"metadata": {"name": "b"}, "spec": USES}))
    api.put("pods", pod("chosen", labels={"app": "ships"}))
    assert shown(await found_in(api, "ships", SECRET, "app=ships")) == (["chosen"], True, 2)


async def test_pods_of_the_operators_own_migrations_use_neither_keys_nor_login() -> None:
    job = workload()
    job["spec"]["template"]["metadata"] = {"labels": OURS}
    api = holding(("pods", pod(spec=USES, labels={**OURS, "slipway.dev/purpose": "plan"})), ("jobs", job))
    assert await found_in(api, "ships", SECRET, "") == Found()
    half = pod(spec=USES, labels={"app.kubernetes.io/component": "migrate"})
    assert shown(await found_in(holding(("pods", half)), "ships", SECRET, "")) == (["a"], True, 0)


@pytest.mark.parametrize(
    ("plural", "body", "refers", "wanted"),
    [
        ("deployments", workload(), True, 1),
        ("deployments", workload(replicas=3), True, 3),
        ("deployments", workload(replicas=0), True, 0),
        ("statefulsets", workload(replicas=0), True, 0),
        ("statefulsets", workload(replicas=2), True, 2),
        ("replicasets", workload(replicas=0), True, 0),
        ("replicasets", owned("Deployment"), False, 0),
        ("replicasets", owned("Rollout"), False, 0),
        ("replicasets", owned("Deployment", 2), True, 2),
        ("replicasets", owned("Rollout", 2), True, 2),
        ("daemonsets", daemons(0), True, 0),
        ("daemonsets", daemons(4), True, 4),
        ("daemonsets", daemons(0, observed=1), True, 1),
        ("daemonsets", workload(), True, 1),
        ("cronjobs", cron_job(suspend=True), True, 0),
        ("cronjobs", cron_job(), True, 0),
        ("cronjobs", cron_job(active=1), True, 1),
        ("jobs", workload(), True, 1),
        ("jobs", workload(parallelism=3), True, 3),
        ("jobs", workload(suspend=True), True, 0),
        ("jobs", ended("Complete"), False, 0),
        ("jobs", ended("Failed"), False, 0),
    ],
)
async def test_where_no_pod_refers_a_workload_that_does_tells_how_many_are_wanted(
    plural: str,
    body: dict[str, Any],
    refers: bool,  # noqa: FBT001 - a parameter of the test
    wanted: int,
) -> None:
    others = [(resource.plural, workload("other", {"volumes": []}, replicas=9)) for resource in WORKLOADS[:4]]
    found = await found_in(holding((plural, body), *others), "ships", SECRET, "")
    assert (found.refers, found.wanted) == (refers, wanted)


async def test_a_workload_of_none_proves_nothing_where_a_set_that_another_kind_owns_wants_pods() -> None:
    scaled = workload("scaled-down-by-a-rollout", replicas=0)
    api = holding(("deployments", scaled), ("replicasets", owned("Rollout", 2)))
    assert shown(await found_in(api, "ships", SECRET, "")) == ([], True, 2)


@pytest.mark.parametrize("resource", WORKLOADS, ids=lambda resource: resource.plural)
async def test_a_kind_that_may_not_be_listed_is_never_taken_for_empty(resource: Any) -> None:
    api = holding(("deployments", workload(replicas=0)))
    api.faults[f"list {resource.plural}"] = ForbiddenError(403, "Forbidden", f"may not list {resource.plural}")
    assert await found_in(api, "ships", SECRET, "") == Found(unlisted=f"may not list {resource.plural}")


async def test_where_a_pod_runs_that_refers_no_workload_is_listed() -> None:
    api = holding(("pods", pod(spec=USES)))
    await found_in(api, "ships", SECRET, "")
    assert api.calls == ["list pods"]


@pytest.mark.parametrize("kind", ["pods", "cronjobs"])
async def test_what_is_away_is_no_evidence(kind: str) -> None:
    api = holding(("deployments", workload(replicas=0)))
    api.faults[f"list {kind}"] = UnreachableError(0, "Unreachable", "away")
    with pytest.raises(UnreachableError):
        await found_in(api, "ships", SECRET, "")
