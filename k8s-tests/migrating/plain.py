"""SchemaMigrations and the Deployments that they name, without the chart."""

from __future__ import annotations

from typing import Any

CONTAINER = "main"


def migration(name: str, image: str, secret: str, **spec: Any) -> dict[str, Any]:
    """`spec` goes on top."""
    wish = {
        "image": image,
        "workload": {"name": name, "container": CONTAINER},
        "consumers": {"selector": {"matchLabels": {"app": name}}},
        "database": {"secretName": secret},
        **spec,
    }
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "SchemaMigration",
        "metadata": {"name": name},
        "spec": wish,
    }


def deployment(name: str, image: str, *, replicas: int = 0, **container: Any) -> dict[str, Any]:
    """As the restricted Pod Security Standard wants it; `container` goes on top of its container."""
    labels = {"app": name}
    main = {
        "name": CONTAINER,
        "image": image,
        "env": [{"name": "SLIPWAY_DATABASE_TLS", "value": "disable"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **container,
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service called slipway would set SLIPWAY_PORT
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
