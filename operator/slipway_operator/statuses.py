"""Writes a status with the version that was read, and tells of it where it is a transition."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from slipway_operator.clock import reliable
from slipway_operator.cluster import EVENTS, Api, ApiError, ConflictError, Resource
from slipway_operator.conditions import State, merged, told
from slipway_operator.definitions import declared
from slipway_operator.events import event
from slipway_operator.telemetry import RESOURCES, STALLED

log = logging.getLogger(__name__)


async def write_status(
    api: Api,
    kind: Resource,
    resource: Mapping[str, Any],
    wanted: Mapping[str, Any],
    said: tuple[State, str, str],
    now: float,
    whole: bool = True,  # noqa: FBT001, FBT002 - of the look that it tells of
) -> bool:
    """Write what differs; `said` is state, reason and message. False: somebody changed the resource since it was read.

    A transition, which is another reason or that a person must act now, becomes an event and a line of the log.
    Prometheus is told at every look: an operator that just started has no other moment to tell of what stays as it is.
    """
    former, named = resource.get("status") or {}, resource["metadata"]
    if whole or reliable(former):
        # Else the times in it are as they were found, and whoever looks next has to know.
        timed = merged([api.clock.condition()], former.get("conditions") or (), named.get("generation", 0), now)
        wanted = {**wanted, "conditions": [*wanted.get("conditions", ()), *timed]}
    wanted = declared(wanted, api.definitions.get(resource["kind"], {}).get("properties", {}).get("status"))
    key = resource["kind"], named["namespace"], named["name"]
    STALLED.labels(*key).set(said[0] == "Stalled")
    RESOURCES.saw(key, said[1], wanted)
    if wanted == former:
        return True
    metadata = {name: resource["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    body = {"apiVersion": resource["apiVersion"], "kind": resource["kind"], "metadata": metadata, "status": wanted}
    try:
        await api.apply_status(kind, metadata["namespace"], body)
    except ConflictError:
        return False
    if _told(wanted) != _told(former):
        await _tell(api, resource, said, now)
    return True


def _told(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [told(status.get("conditions") or (), kind) for kind in ("Ready", "Stalled")]


async def _tell(api: Api, resource: Mapping[str, Any], said: tuple[State, str, str], now: float) -> None:
    state, reason, message = said
    log.log(logging.WARNING if state == "Stalled" else logging.INFO, "%s: %s", reason, message)
    kind: Literal["Warning", "Normal"] = "Warning" if state == "Stalled" else "Normal"
    try:
        await api.create(EVENTS, resource["metadata"]["namespace"], event(resource, reason, message, kind, now))
    except ConflictError:
        return  # told before
    except ApiError as error:
        # The status says the same; nothing is held up for want of an event.
        log.warning("An event couldn't be written: %s", error)
