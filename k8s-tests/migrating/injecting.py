"""Admission that changes what is asked for, as meshes and registries do by webhooks, and pods of a lost node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from cluster.kubectl import Kubectl
from cluster.model import Cluster
from load.looking import seen
from migrating.plain import deployment

API = "admissionregistration.k8s.io/v1beta1"
SIDECAR = "mesh-proxy"
ASKED_OUT = "mesh.example/inject"
GHOST = "ghost"


def sidecar(image: str) -> str:
    """CEL: one container more in a pod."""
    context = "Object.spec.containers.securityContext"
    security = f'{context}{{allowPrivilegeEscalation: false, capabilities: {context}.capabilities{{drop: ["ALL"]}}}}'
    made = (
        f'Object.spec.containers{{name: "{SIDECAR}", image: "{image}", imagePullPolicy: "IfNotPresent", '
        f'command: ["python", "-c", "import signal; signal.pause()"], securityContext: {security}}}'
    )
    return f'[JSONPatch{{op: "add", path: "/spec/containers/-", value: {made}}}]'


def other_name(image: str) -> str:
    """CEL: the image of a workload's first container under another name."""
    return f'[JSONPatch{{op: "replace", path: "/spec/template/spec/containers/0/image", value: "{image}"}}]'


IN_JOBS = {
    "of-a-migration": "has(object.metadata.labels) && 'slipway.dev/purpose' in object.metadata.labels",
    "not-asked-out": "!has(object.metadata.annotations) "
    f"|| object.metadata.annotations[?'{ASKED_OUT}'].orValue('') != 'false'",
}
"""Name → CEL that must hold."""


@contextmanager
def mutating(
    cluster: Cluster, namespace: str, resource: str, change: str, conditions: dict[str, str]
) -> Iterator[None]:
    """While it lasts, objects of this kind (`group/resource`, or `resource`) are changed on their way in."""
    name = f"{namespace}-{uuid4().hex[:6]}"
    group, _, plural = resource.rpartition("/")
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}
    policy = {
        "apiVersion": API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [rule],
            },
            "matchConditions": [{"name": each, "expression": holds} for each, holds in conditions.items()],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
        },
    }
    binding = {
        "apiVersion": API,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    cluster.kubectl.apply([policy, binding])
    try:
        yield
    finally:
        for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
            cluster.kubectl.run("delete", kind, name, "--ignore-not-found")


def in_force(cluster: Cluster, namespace: str, probe: dict[str, Any], wanted: str) -> None:
    """Returns once an object like that would come out with `wanted` in it: policies are taken up after a moment."""
    words = ("create", "--dry-run=server", "--filename=-", f"--namespace={namespace}", "--output=json")
    text = json.dumps(probe)
    seen(lambda: wanted in cluster.kubectl.run(*words, input=text), 30, f"{wanted} by admission")


def lost_pod(cluster: Cluster, namespace: str, app: str, image: str, image_id: str) -> str:
    """The name of a pod that ran on a node of which nothing was heard since: the node is there, without a kubelet."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": GHOST}}
    template = deployment(app, image)["spec"]["template"]
    name = f"{app}-lost"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": template["metadata"]["labels"]},
        "spec": {**template["spec"], "nodeName": GHOST},
    }
    cluster.kubectl.apply([node])
    cluster.kubectl.apply([pod], namespace)
    _ran(cluster.kubectl, namespace, name, image, image_id)
    return name


def _ran(kubectl: Kubectl, namespace: str, name: str, image: str, image_id: str) -> None:
    """What its kubelet would have told, and what the controller of nodes makes of its readiness."""
    ago = "2026-01-01T00:00:00Z"
    conditions = [
        {"type": kind, "status": status, "lastTransitionTime": ago}
        for kind, status in (("PodScheduled", "True"), ("ContainersReady", "True"), ("Ready", "False"))
    ]
    main: dict[str, Any] = {"name": "main", "image": image, "imageID": image_id, "ready": True, "started": True}
    container = {**main, "restartCount": 0, "state": {"running": {"startedAt": ago}}}
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}
    words = ("patch", "pod", name, f"--namespace={namespace}", "--subresource=status", "--type=merge")
    kubectl.run(*words, f"--patch={json.dumps({'status': status})}")


def node_removed(cluster: Cluster, namespace: str, pod: str) -> None:
    """The way out: the node's object goes, and what was on it (here at once, elsewhere within a minute)."""
    cluster.kubectl.run("delete", "node", GHOST, "--ignore-not-found")
    scope = f"--namespace={namespace}"
    cluster.kubectl.run("delete", "pod", pod, scope, "--grace-period=0", "--force", "--ignore-not-found")
