"""The faults, each made the way it comes about. What mends one is the runbook, not its end here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from cluster.model import Cluster
from load.installed import Installed
from migrating.database import table_held
from operated.resource import OPERATOR

FOREVER = 36_000


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


@contextmanager
def _locked(place: Place) -> Iterator[None]:
    with table_held(place.cluster, place.namespace, "items", "ACCESS EXCLUSIVE"):
        yield


@contextmanager
def _held(place: Place) -> Iterator[None]:
    spec = {"holderIdentity": "nobody", "leaseDurationSeconds": FOREVER}
    words = ("patch", "lease", OPERATOR, f"--namespace={place.namespace}", "--type=merge")
    place.cluster.kubectl.run(*words, f"--patch={json.dumps({'spec': spec})}")
    yield


FAULTS: Mapping[str, Fault] = {
    "redis": _scaled("statefulset/slipway-redis"),
    "worker": _scaled("deployment/slipway-worker"),
    "api": _scaled("deployment/slipway"),
    "lease": _held,
    "pool": _locked,
}
"""Scenario → how its fault is made."""
