"""What refers to a Secret: the pods that hold it or will, and the workloads that make them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

OUR_LABELS = {"app.kubernetes.io/managed-by": "slipway-operator", "app.kubernetes.io/component": "migrate"}
"""Of the pods that run the operator's own migrations: with the owner's login, and without keys."""


def secrets_of(pod: Object) -> frozenset[str]:
    """Names that a pod's spec has in a volume, one source of a projected one, `env` or `envFrom` of any container.

    `optional` makes no difference: a container that starts with the Secret has it.
    """
    return frozenset(name for name in (*_of_volumes(pod.get("volumes") or ()), *_of_containers(pod)) if name)


def _of_volumes(volumes: Iterable[Object]) -> Iterator[str | None]:
    for volume in volumes:
        yield (volume.get("secret") or {}).get("secretName")
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield (source.get("secret") or {}).get("name")


def _of_containers(pod: Object) -> Iterator[str | None]:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in pod.get(kind) or ():
            for setting in container.get("env") or ():
                yield ((setting.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
            for source in container.get("envFrom") or ():
                yield (source.get("secretRef") or {}).get("name")


def is_ours(labels: Mapping[str, str]) -> bool:
    """Whether these are a migration pod's labels: it uses neither the login nor the keys that it may mount."""
    return all(labels.get(key) == value for key, value in OUR_LABELS.items())


def runs(pod: Object) -> bool:
    """Whether one of its containers does, ready or not, terminating or not; init containers don't count."""
    status = pod.get("status") or {}
    told = [*(status.get("containerStatuses") or ()), *(status.get("ephemeralContainerStatuses") or ())]
    return any("running" in (one.get("state") or {}) for one in told)


def has_ended(pod: Object) -> bool:
    """Whether none of its containers runs any more; one that leaves starts none."""
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return over or ("deletionTimestamp" in pod["metadata"] and not runs(pod))


def template(kind: str, workload: Object) -> Object | None:
    """The spec of the pods that a workload makes; None where another workload stands for it, or it makes no more.

    A ReplicaSet that wants pods stands for itself: its owner may have another template by now, or be of any kind.
    """
    spec: Object = workload["spec"]
    match kind:
        case "replicasets" if not spec.get("replicas", 1) and _controlled(workload):
            return None
        case "cronjobs":
            spec = spec["jobTemplate"]["spec"]
        case "jobs" if _job_ended(workload) or is_ours(spec["template"].get("metadata", {}).get("labels") or {}):
            return None
    found: Object = spec["template"].get("spec") or {}
    return found


def wanted(kind: str, workload: Object) -> int:
    """How many pods a workload wants now. One whose status is older than its spec, so that nobody knows, wants one."""
    spec, status = workload["spec"], workload.get("status") or {}
    match kind:
        case "daemonsets":
            current = status.get("observedGeneration") == workload["metadata"].get("generation")
            return int(status.get("desiredNumberScheduled", 0)) if current else 1
        case "cronjobs":
            # Between two runs none: the next loads the Secret as it is then. Jobs that run are listed themselves.
            return len(status.get("active") or ())
        case "jobs":
            return 0 if spec.get("suspend") else int(spec.get("parallelism", 1))
    return int(spec.get("replicas", 1))


def _controlled(workload: Object) -> bool:
    return any(one.get("controller") for one in workload["metadata"].get("ownerReferences") or ())


def _job_ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)
