"""The faults, each made the way it comes about. What mends one is the runbook, not its end here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from cluster.model import Cluster
from load.installed import Installed


class Place(Protocol):
    """Where a fault is made."""

    cluster: Cluster
    namespace: str
    image: str
    installed: Installed


Fault = Callable[[Place], AbstractContextManager[None]]


def _scaled(what: str) -> Fault:
    @contextmanager
    def gone(place: Place) -> Iterator[None]:
        place.cluster.kubectl.run("scale", what, f"--namespace={place.namespace}", "--replicas=0")
        yield

    return gone


FAULTS: Mapping[str, Fault] = {
    "redis": _scaled("statefulset/slipway-redis"),
    "worker": _scaled("deployment/slipway-worker"),
}
"""Scenario → how its fault is made."""
