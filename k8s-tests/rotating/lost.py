"""A pod that uses the release's keys and its login, and whose node is lost."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from operated.lost import lost_pod
from rotating import material
from rotating.world import World

NAME = "lost-consumer"


def lost_consumer(world: World, image: str) -> AbstractContextManager[None]:
    secrets = (material.RING, material.LOGIN)
    container: dict[str, Any] = {
        "name": NAME,
        "image": image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in secrets],
    }
    spec = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": each, "secret": {"secretName": each}} for each in secrets],
    }
    return lost_pod(world.cluster, world.namespace, NAME, {"spec": spec})
