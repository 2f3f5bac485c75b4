"""A Lease that this operator renews and watches: its events stop when the watches do, however quiet the rest is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from slipway_operator.cluster import Api, ApiError, Resource
from slipway_operator.settings import Settings

log = logging.getLogger(__name__)

NAME = "slipway-operator"
KIND = "Lease"
LEASES = Resource("coordination.k8s.io", "v1", "leases")
INTERVAL = 60.0
"""Seconds between two renewals."""
SOONER = 6
"""How many times sooner a renewal that failed is tried again."""
SILENCE = 180.0
"""Seconds without an event of the Lease after which the watches count as dead."""


def lease(settings: Settings, now: datetime) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": KIND,
        "metadata": {"name": NAME, "namespace": settings.heartbeat_namespace},
        "spec": {
            "holderIdentity": settings.identity,
            "leaseDurationSeconds": int(SILENCE),
            "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def is_own(found: Mapping[str, Any], settings: Settings) -> bool:
    """Whether it was this very process that renewed this Lease last."""
    place = found["metadata"].get("namespace") == settings.heartbeat_namespace
    return bool(place and found.get("spec", {}).get("holderIdentity") == settings.identity)


async def beat(api: Api, settings: Settings, *, interval: float = INTERVAL) -> None:
    """Renew the Lease for ever. A renewal that fails is logged once, and tried again sooner than the next is due."""
    failing = ""
    while True:
        try:
            await api.apply(LEASES, settings.heartbeat_namespace, lease(settings, datetime.now(UTC)))
        except ApiError as error:
            if error.reason != failing:
                log.warning("The Lease %s can't be renewed: %s", NAME, error)
            failing = error.reason
        else:
            failing = ""
        pause = interval / SOONER if failing else interval
        await asyncio.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311 - it only spreads load
