"""Writes Secrets of the operator's making."""

from __future__ import annotations

from typing import Any

from slipway_operator.cluster import SECRETS, Api, ConflictError


async def store(api: Api, manifest: dict[str, Any]) -> bool:
    """Write a manifest of `secret_objects`. False when somebody else wrote the Secret since it was read.

    One without a version is made by POST, so that what somebody made meanwhile is never overwritten. Raises ApiError.
    """
    metadata = manifest["metadata"]
    try:
        if "resourceVersion" in metadata:
            await api.apply(SECRETS, metadata["namespace"], manifest)
        else:
            await api.create(SECRETS, metadata["namespace"], manifest)
    except ConflictError:
        return False
    return True
