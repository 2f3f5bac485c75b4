"""Events: what `kubectl describe` tells of a resource's transitions."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

from slipway_operator.conditions import cut
from slipway_operator.times import timestamp

MESSAGE_LIMIT = 1024
COMPONENT = "slipway-operator"
_NAME_LIMIT = 236  # with the hash 253, what a name may have


def event(
    about: Mapping[str, Any], reason: str, message: str, kind: Literal["Normal", "Warning"], now: float
) -> dict[str, Any]:
    """A core/v1 Event about a resource as it was read.

    Its name follows from what it says and from the resource's version, so that the same one isn't made twice.
    """
    metadata = about["metadata"]
    identity = "\n".join((metadata["uid"], metadata["resourceVersion"], reason, message))
    at = timestamp(int(now))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:_NAME_LIMIT]}.{sha256(identity.encode()).hexdigest()[:16]}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": cut(message, MESSAGE_LIMIT),
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }
