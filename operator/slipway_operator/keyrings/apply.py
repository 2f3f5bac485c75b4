"""Writes a decision: the status, then the Secret, then the nudge that makes the kubelet hurry.

A crash between any two writes leaves what the next look decides upon anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from slipway_operator.cluster import Api
from slipway_operator.keyrings.material import files, generate
from slipway_operator.keyrings.model import Decision, Key, WriteSecret
from slipway_operator.keyrings.observe import KEY_RINGS, Jwk, Look
from slipway_operator.keyrings.status import document
from slipway_operator.rotations import ended
from slipway_operator.secret_objects import manifest
from slipway_operator.secret_store import store
from slipway_operator.statuses import write_status
from slipway_operator.telemetry import PROPAGATION, ROTATIONS

log = logging.getLogger(__name__)

KIND = "KeyRing"


async def write(api: Api, look: Look, decision: Decision, now: float) -> bool:
    """The status. False when somebody changed the resource since it was read: nothing else may follow."""
    resource, verdict = look.resource, decision.verdict
    wanted = document(decision, resource.get("status") or {}, resource["metadata"]["generation"], now)
    said = (verdict.state, verdict.reason, verdict.message)
    if not await write_status(api, KEY_RINGS, resource, wanted, said, now, look.whole):
        return False
    _measure(look, decision)
    for one in ended(look.observed.memory.history, decision.memory.history):
        ROTATIONS.labels(KIND, one.cause, one.result).inc()
    return True


async def keys(look: Look, wish: WriteSecret) -> dict[str, Jwk]:
    """What the Secret is to hold, by id: the keys that stay, then the new ones. The first of these may have to sign."""
    made = [await asyncio.to_thread(generate, wish.algorithm) for _ in range(wish.fresh)]
    return {identity: look.keys[identity] for identity in wish.keep} | dict(made)


async def effect(api: Api, look: Look, wish: WriteSecret, held: Mapping[str, Jwk]) -> bool:
    """Write the Secret. False when somebody else wrote it since it was read: then the next look decides anew."""
    signing = wish.signing or list(held)[len(wish.keep)]
    spec = look.observed.spec
    body = manifest(
        look.resource,
        spec.secret_name,
        files(held.values(), signing),
        type_=look.type,
        cause=wish.cause,
        nonce=wish.nonce,
        # A reference that was made by POST would stay when it is applied without; the next look adds it.
        owned=look.version is not None and not spec.retain,
        version=look.version,
    )
    if not await store(api, body):
        return False
    log.info("Secret %s holds %s; %s signs.", spec.secret_name, ", ".join(sorted(held)), signing)
    return True


def _measure(look: Look, decision: Decision) -> None:
    before = {key.id: key for key in look.observed.memory.keys}
    for key in decision.memory.keys:
        former = before.get(key.id)
        if key.confirmed is not None and former is not None and _newly_confirmed(key, former):
            PROPAGATION.labels(KIND).observe(key.confirmed - key.since)


def _newly_confirmed(key: Key, former: Key) -> bool:
    return former.confirmed is None and (former.stage, former.since) == (key.stage, key.since)
