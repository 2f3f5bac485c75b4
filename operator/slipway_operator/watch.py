"""kopf's watches, which wake and decide nothing: every look reads what counts anew.

Handlers of events only: no other kind leaves finalizers and annotations alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import kopf
from kopf._cogs.structs.references import Insights

from slipway_operator import credentials, namespaces
from slipway_operator.cluster import Api
from slipway_operator.lease import KIND as LEASE_KIND
from slipway_operator.leases import Leases
from slipway_operator.settings import Settings
from slipway_operator.telemetry import LastEvents
from slipway_operator.worklist import Key, Worklist

GROUP, VERSION = "slipway.dev", "v1alpha1"
MIGRATION, KEY_RING, LOGIN = "SchemaMigration", "KeyRing", "DatabaseLogin"
KINDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        MIGRATION: (GROUP, VERSION, "schemamigrations"),
        KEY_RING: (GROUP, VERSION, "keyrings"),
        LOGIN: (GROUP, VERSION, "databaselogins"),
    }
)
JOBS = ("batch", "v1", "jobs")
LEASES = ("coordination.k8s.io", "v1", "leases")
OURS = "app.kubernetes.io/managed-by=slipway-operator"

SERVER_SECONDS = 1800
"""How long the server keeps a watch open."""
SILENCE_SECONDS = 70.0
"""A watch that is silent for longer is opened anew: the server sends a bookmark every minute."""
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
LISTED_AT_A_TIME = 100


class Backoffs:
    """Seconds between kopf's attempts at a request, each time with other jitter."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._seconds)

    def __iter__(self) -> Iterator[float]:
        return (seconds * random.uniform(0.75, 1.25) for seconds in self._seconds)  # noqa: S311 - it only spreads load


def kopf_settings(home_lease: str) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = 30.0
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.error_backoffs = Backoffs(1, 2, 4, 8, 16)
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = SERVER_SECONDS + REQUEST_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = LISTED_AT_A_TIME
    settings.watching.label_selectors[JOBS] = OURS
    settings.watching.field_selectors[LEASES] = f"metadata.name={home_lease}"
    settings.queueing.idle_timeout = 1.0
    # Nothing is ever written with these names. They are ours, so that no other operator of kopf's takes what it finds
    # under its default names for a state of ours.
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"operator.{GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"operator.{GROUP}")
    return settings


def registry(worklist: Worklist, events: LastEvents, leases: Leases) -> kopf.OperatorRegistry:
    """What is watched, and what it wakes."""
    handlers = kopf.OperatorRegistry()
    wishes = Wishes()

    async def wished(event: kopf.RawEvent, body: kopf.Body, param: Any, **_: Any) -> None:
        events.seen(param)
        key = Key(param, body["metadata"]["namespace"], body["metadata"]["name"])
        news = wishes.news(event["type"], key, body["metadata"])
        if event["type"] == "DELETED":
            worklist.forget(key)
            leases.gone(key)
        else:
            leases.came(key)
        if news:
            # One that is deleted is looked at for the last time: its reconciler forgets what it knows of it.
            worklist.wake(key)

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return credentials.login()

    for kind, resource in KINDS.items():
        kopf.on.event(*resource, registry=handlers, id=f"{kind.lower()}_changed", param=kind)(wished)  # type: ignore[arg-type]

    @kopf.on.event(*JOBS, registry=handlers)
    async def job_changed(body: kopf.Body, **_: Any) -> None:
        events.seen("Job")
        owner = owner_of(body)
        if owner is not None:
            worklist.wake(owner)

    @kopf.on.event(*LEASES, registry=handlers)
    async def lease_changed(body: kopf.Body, **_: Any) -> None:
        if leases.is_own(body):
            events.seen(LEASE_KIND)

    return handlers


class Wishes:
    """Tells a changed wish from a written status: our own writes come back as events, and each would cost a look."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Any, ...]] = {}

    def news(self, change: str | None, key: Key, metadata: Mapping[str, Any]) -> bool:
        """`change` is the event's type: None in a list, after which anything may have been missed."""
        if change == "DELETED":
            self._known.pop(key, None)
            return True
        annotations = tuple(sorted((metadata.get("annotations") or {}).items()))
        seen = (metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), annotations)
        known, self._known[key] = self._known.get(key), seen
        return change is None or known != seen


def owner_of(job: Mapping[str, Any]) -> Key | None:
    """The resource that a Job was made for, by its controller."""
    metadata = job["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        ours = owner["kind"] == MIGRATION and owner["apiVersion"].split("/")[0] == GROUP
        if ours and owner.get("controller"):
            return Key(MIGRATION, metadata["namespace"], owner["name"])
    return None


async def watch(
    api: Api,
    settings: Settings,
    worklist: Worklist,
    events: LastEvents,
    leases: Leases,
    stop: asyncio.Event,
    *,
    started: Callable[[], None],
) -> None:
    """Watch until `stop` is set. Raises what ended a watch for good. Calls `started` when kopf has set itself up."""
    insights = Insights()
    further = [name for name in settings.namespaces if name != settings.home_namespace]
    keeping = asyncio.create_task(namespaces.keep(api, further, insights), name="namespaces")
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(worklist, events, leases),
        settings=kopf_settings(settings.home_lease),
        identity=cast("Any", settings.identity),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=[settings.home_namespace] if settings.namespaces else [],
        insights=insights,
        stop_flag=stop,
    )
    started()
    try:
        await kopf.run_tasks(tasks, ignored=others)
    finally:
        keeping.cancel()
