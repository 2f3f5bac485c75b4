"""A KeyRing and a DatabaseLogin beside the chart's, whose Secrets nothing refers to, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.commands import CommandError
from load.looking import seen
from migrating import database
from operated.resource import OPERATOR
from rotating import material
from rotating.resource import DatabaseLogin, KeyRing
from rotating.world import RING, World

NAME = "stray"
KEYS, LOGIN = "stray-keys", "stray-login"
SECRETS = {KEYS, LOGIN}
ROLES = ("stray_a", "stray_b")
MISTYPED = {"matchLabels": {"app": "mistyped"}}
"""A selector that finds nothing."""


class Stray:
    def __init__(self, world: World) -> None:
        self.world = world
        self.ring = KeyRing(world.cluster, world.namespace, NAME)
        self.login = DatabaseLogin(world.cluster, world.namespace, NAME)

    def keys(self) -> dict[str, bytes]:
        return material.data(material.read(self.world.cluster, self.world.namespace, KEYS))

    def passwords(self) -> list[list[str]]:
        """What PostgreSQL keeps of both roles' passwords, as digests: another one is another password."""
        asked = "SELECT rolname, md5(rolpassword) FROM pg_authid WHERE rolname LIKE 'stray%' ORDER BY 1"
        return database.sql(self.world.cluster, self.world.namespace, asked)


@contextmanager
def strayed(world: World) -> Iterator[Stray]:
    """Both, once the first keys and the first login are made. Afterwards nothing of them is left but the roles."""
    kubectl, found = world.cluster.kubectl, Stray(world)
    kubectl.apply(_rights(world), world.namespace)
    seen(lambda: _may_patch(world), 10, "the operator's right")
    try:
        kubectl.apply(_wishes(), world.namespace)
        seen(lambda: found.keys() and len(found.passwords()) == len(ROLES), 30, found.ring.told)
        yield found
    finally:
        kubectl.run("delete", f"keyring/{NAME}", f"databaselogin/{NAME}", world.scope, "--ignore-not-found")
        kubectl.run("delete", "secret", *sorted(SECRETS), world.scope, "--ignore-not-found")
        kubectl.run("delete", f"role/{NAME}", f"rolebinding/{NAME}", world.scope)


def _may_patch(world: World) -> bool:
    """Whether the API server has heard of the right: a request before would be denied."""
    account = f"--as=system:serviceaccount:{world.namespace}:{OPERATOR}"
    try:
        world.cluster.kubectl.run("auth", "can-i", "patch", f"secret/{LOGIN}", world.scope, account)
    except CommandError:
        return False
    return True


def _wishes() -> list[dict[str, Any]]:
    version = "slipway.dev/v1alpha1"
    consumers = {"selector": MISTYPED, "port": "ops"}
    login = {
        "secretName": LOGIN,
        "admin": {"secretName": "slipway-database-owner"},
        "memberOf": "slipway_app",
        "roles": list(ROLES),
        "consumers": consumers,
    }
    return [
        {
            "apiVersion": version,
            "kind": "KeyRing",
            "metadata": {"name": NAME},
            "spec": {**RING, "secretName": KEYS, "consumers": consumers},
        },
        {"apiVersion": version, "kind": "DatabaseLogin", "metadata": {"name": NAME}, "spec": login},
    ]


def _rights(world: World) -> list[dict[str, Any]]:
    """As docs/keys-and-logins.md says for resources that aren't the chart's."""
    group = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": sorted(SECRETS),
        "verbs": ["get", "watch", "patch"],
    }
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": NAME}, "rules": [rule]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": world.namespace}],
    }
    return [role, binding]
