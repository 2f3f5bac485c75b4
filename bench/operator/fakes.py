"""SchemaMigrations by the hundred, and what ends their Jobs without running anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from cluster.kubectl import Kubectl
from slipway_operator.cluster import Api, Resource

MIGRATIONS = Resource("slipway.dev", "v1alpha1", "schemamigrations")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
JOBS = Resource("batch", "v1", "jobs")
PODS = Resource("", "v1", "pods")

WORKLOAD = "app"
AT_A_TIME = 4
IMAGE_ID = "docker.io/library/app@sha256:" + "0" * 64


def deployment() -> dict[str, Any]:
    """What Jobs are copied from. Its scheduler doesn't exist, so no pod ever gets to a node."""
    labels = {"app": WORKLOAD}
    container = {"name": "app", "image": "app:1", "env": [{"name": "LEVEL", "value": "info"}]}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"schedulerName": "nobody", "securityContext": security, "containers": [container]}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": WORKLOAD}, "spec": spec}


def migration(number: int, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "SchemaMigration",
        "metadata": {"name": f"m{number:04}"},
        "spec": {
            "image": image,
            "workload": {"name": WORKLOAD, "container": "app"},
            "consumers": {"selector": {"matchLabels": {"app": WORKLOAD}}},
            "database": {"secretName": "owner"},
        },
    }


class Ender:
    """Sees each Job as soon as it is there, gives it a pod that has ended, and ends it."""

    def __init__(self, api: Api, kubectl: Kubectl, namespace: str) -> None:
        self._api = api
        self._kubectl = kubectl
        self._namespace = namespace
        self._at_a_time = asyncio.Semaphore(AT_A_TIME)
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None
        """What first kept a Job from being ended."""
        self.seen: dict[str, list[float]] = {}
        """Owner → monotonic times at which Jobs of it appeared."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        columns = "NAME:.metadata.name,OWNER:.metadata.ownerReferences[0].name"
        options = ("get", "jobs", f"--namespace={self._namespace}", "--watch", "--no-headers", "--output")
        kubeconfig = f"--kubeconfig={self._kubectl.kubeconfig}"
        process = await asyncio.create_subprocess_exec(
            self._kubectl.path,
            kubeconfig,
            *options,
            f"custom-columns={columns}",
            env={**os.environ, **self._kubectl.environment},
            stdout=asyncio.subprocess.PIPE,
        )
        reading = asyncio.create_task(self._read(process))
        try:
            yield
        finally:
            process.terminate()
            await process.wait()
            await reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        async for line in process.stdout:
            name, owner = line.decode().split()
            if name not in self._known:
                self._known.add(name)
                self.seen.setdefault(owner, []).append(time.monotonic())
                task = asyncio.create_task(self._end(name))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.failure is None:
            self.failure = error

    async def _end(self, name: str) -> None:
        async with self._at_a_time:
            job = await self._api.get(JOBS, self._namespace, name)
            if job is None:
                return
            pod = await self._api.create(PODS, self._namespace, pod_of(job))
            await self._api.apply_status(PODS, self._namespace, ended_pod(pod))
            await self._api.apply_status(JOBS, self._namespace, ended_job(job))


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """As the Job controller would make it."""
    of = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": of["name"], "uid": of["uid"], "controller": True}
    template = job["spec"]["template"]
    metadata = {"name": of["name"], "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def ended_pod(pod: dict[str, Any]) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    terminated = {"exitCode": 0, "reason": "Completed", "startedAt": _now(), "finishedAt": _now()}
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": IMAGE_ID,
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    metadata = {"name": pod["metadata"]["name"]}
    told = {"phase": "Succeeded", "containerStatuses": [status]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": told}


def ended_job(job: dict[str, Any]) -> dict[str, Any]:
    now = _now()
    conditions = [
        {"type": kind, "status": "True", "reason": "Ended", "lastProbeTime": now, "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    times = {"startTime": job["metadata"]["creationTimestamp"], "completionTime": now}
    status = {**times, "succeeded": 1, "uncountedTerminatedPods": {}, "conditions": conditions}
    metadata = {"name": job["metadata"]["name"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": status}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
