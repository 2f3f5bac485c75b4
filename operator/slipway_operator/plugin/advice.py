"""The next command for each reason for which a person must act, and the page that has the rest.

Reasons without a line of their own have the sentence of the resource say it, which `kubectl describe` shows whole.
"""

from __future__ import annotations

from slipway_operator.plugin.model import Resource

MIGRATIONS = "docs/operations.md#upgrade"
ROTATIONS = "docs/keys-and-logins.md#what-it-waits-for-and-what-to-do"
APPROVAL = "docs/operations.md#approval"

SHORT = {"SchemaMigration": "sm", "KeyRing": "keyring", "DatabaseLogin": "databaselogin"}

COMMANDS = {
    "AwaitingApproval": "kubectl -n {namespace} get sm {name} -o jsonpath='{{.status.plan}}'",
    "LintFailed": "kubectl -n {namespace} get sm {name} -o jsonpath='{{.status.plan.findings}}'",
    "ReleaseSkipped": "helm -n {namespace} history {release}",
    "ContainerMissing": "kubectl -n {namespace} get deployments -o wide",
    "SpecInvalid": "helm show crds ./chart | kubectl apply --server-side --force-conflicts -f -",
    "InvalidSpec": "helm show crds ./chart | kubectl apply --server-side --force-conflicts -f -",
    "NodeLost": "kubectl get nodes",
    "JobRuns": "kubectl -n {namespace} get pods -o wide",
    "NoConsumers": "kubectl -n {namespace} get {kind} {name} -o jsonpath='{{.spec.secretName}}'",
    "SecretNotOurs": "kubectl -n {namespace} get secrets --show-labels",
    "BothRolesInUse": "kubectl -n {namespace} get pods -o wide",
}


def command(resource: Resource, namespace: str, release: str) -> str:
    """What to type next about a resource that waits for a person."""
    given = {"namespace": namespace, "name": resource.name, "release": release, "kind": SHORT[resource.kind]}
    return COMMANDS.get(resource.reason, "kubectl -n {namespace} describe {kind} {name}").format(**given)


def page(resource: Resource) -> str:
    if resource.reason == "AwaitingApproval":
        return APPROVAL
    return MIGRATIONS if resource.kind == "SchemaMigration" else ROTATIONS
