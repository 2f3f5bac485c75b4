"""Admission that changes what is asked for, as meshes and registries do by webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from cluster.model import Cluster
from load.looking import seen

API = "admissionregistration.k8s.io/v1beta1"
SIDECAR = "mesh-proxy"
ASKED_OUT = "mesh.example/inject"


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
