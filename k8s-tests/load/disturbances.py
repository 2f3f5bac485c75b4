"""What happens to pods in a cluster's life, done on purpose."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from uuid import uuid4

from cluster.commands import CommandError, tail
from cluster.errors import ClusterError
from cluster.model import Cluster
from load.looking import seen

SELECTOR = "app.kubernetes.io/name=slipway,app.kubernetes.io/component="
KILLED = 137
"""Exit code of a process that SIGKILL ended."""
FIND_AND_KILL = """
import os, pathlib, signal, sys
found = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        in_namespaces = (process / "status").read_text().split("NSpid:")[1].split("\\n")[0].split()
        if sys.argv[1] in (process / "cgroup").read_text() and in_namespaces[-1] == "1":
            found.append(int(process.name))
    except OSError:
        continue
if len(found) != 1:
    sys.exit(f"{len(found)} processes are the first of container {sys.argv[1]}")
os.kill(found[0], signal.SIGKILL)
"""


def pods(cluster: Cluster, namespace: str, component: str = "api") -> list[dict[str, Any]]:
    """All of them, starting and terminating ones too."""
    listed = cluster.kubectl.json("get", "pods", f"--namespace={namespace}", f"--selector={SELECTOR}{component}")
    return list(listed["items"])


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def settled(cluster: Cluster, namespace: str, count: int, component: str = "api", within: float = 90) -> list[str]:
    """The names of the pods once exactly `count` are there, all ready, and none is leaving."""

    def look() -> list[str] | None:
        found = pods(cluster, namespace, component)
        fine = len(found) == count and all(_ready(pod) and not _leaving(pod) for pod in found)
        return [pod["metadata"]["name"] for pod in found] if fine else None

    return seen(
        look, within, lambda: f"exactly {count} {component} pods, all ready, but\n{_listed(cluster, namespace)}"
    )


def _leaving(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _listed(cluster: Cluster, namespace: str) -> str:
    return tail(cluster.kubectl.run("get", "pods", f"--namespace={namespace}"))


def evict(cluster: Cluster, namespace: str, pod: str) -> bool:
    """Ask as a drain does; False when the disruption budget forbids it now."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    try:
        cluster.kubectl.run("create", f"--raw={path}", "--filename=-", input=json.dumps(eviction))
    except CommandError as error:
        if "disruption budget" in error.stderr:
            return False
        raise
    return True


def kill(cluster: Cluster, namespace: str, pod: str, image: str, container: str = "api") -> None:
    """SIGKILL to the container's first process, which nothing inside its pod could send.

    Done by a pod that sees the node's processes and runs as the same user, in a namespace of its own that may hold
    such a pod, so that it works on any cluster that lets its administrator do so.
    """
    target = cluster.kubectl.json("get", "pod", pod, f"--namespace={namespace}")
    status = _status(cluster, namespace, pod, container)
    restarts = status["restartCount"]
    name = f"kill-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    killer = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kill", "namespace": name},
        "spec": {
            "nodeName": target["spec"]["nodeName"],
            "hostPID": True,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
            "containers": [
                {
                    "name": "kill",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", FIND_AND_KILL, status["containerID"].split("://")[1]],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    namespace_object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    try:
        cluster.kubectl.apply([namespace_object])
        seen(lambda: _has_default_account(cluster, name), 15, f"the service account of {name}")
        cluster.kubectl.apply([killer])
        cluster.kubectl.wait("pod/kill", "jsonpath={.status.phase}=Succeeded", name, timeout=30)
    except CommandError as error:
        log = ""
        with contextlib.suppress(CommandError):
            log = cluster.kubectl.run("logs", "kill", f"--namespace={name}", "--ignore-errors")
        raise CommandError(["kill", pod], "wasn't killed", f"{error.stderr}\n{log}") from error
    finally:
        cluster.kubectl.run("delete", "namespace", name, "--wait=false", "--ignore-not-found")
    seen(lambda: _status(cluster, namespace, pod, container)["restartCount"] > restarts, 30, f"the restart of {pod}")
    ended = _status(cluster, namespace, pod, container)["lastState"].get("terminated", {})
    if ended.get("exitCode") != KILLED:
        raise ClusterError(f"{pod} restarted for another reason than SIGKILL: {ended}")
    cluster.kubectl.wait(f"namespace/{name}", "delete", timeout=60)


def _has_default_account(cluster: Cluster, namespace: str) -> bool:
    return bool(cluster.kubectl.json("get", "serviceaccounts", f"--namespace={namespace}")["items"])


def _status(cluster: Cluster, namespace: str, pod: str, container: str) -> dict[str, Any]:
    found = cluster.kubectl.json("get", "pod", pod, f"--namespace={namespace}")["status"]["containerStatuses"]
    return next(status for status in found if status["name"] == container)
