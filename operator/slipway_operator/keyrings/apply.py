"""Writes a decision: the status, then the Secret, then the nudge that makes the kubelet hurry.

The Secret is made by POST, so that one which somebody made meanwhile is never overwritten, and changed with the
version that was read. A crash between any two writes leaves what the next look decides upon anew.
"""

from __future__ import annotations

import asyncio
import logging

from slipway_operator.cluster import SECRETS, Api, ConflictError
from slipway_operator.keyrings.material import files, generate
from slipway_operator.keyrings.model import Decision, Key, WriteSecret
from slipway_operator.keyrings.observe import KEY_RINGS, Look
from slipway_operator.keyrings.status import document
from slipway_operator.secret_objects import manifest
from slipway_operator.statuses import write_status
from slipway_operator.telemetry import PROPAGATION, ROTATIONS

log = logging.getLogger(__name__)

KIND = "KeyRing"
_NEVER_OWNED = False


async def write(api: Api, look: Look, decision: Decision, now: float) -> bool:
    """The status. False when somebody changed the resource since it was read: nothing else may follow."""
    resource, verdict = look.resource, decision.verdict
    wanted = document(decision, resource.get("status") or {}, resource["metadata"]["generation"], now)
    said = (verdict.state, verdict.reason, verdict.message)
    if not await write_status(api, KEY_RINGS, resource, wanted, said, now):
        return False
    _count(look, decision)
    return True


async def effect(api: Api, look: Look, wish: WriteSecret) -> bool:
    """Write the Secret. False when somebody else wrote it since it was read: then the next look decides anew."""
    made = [await asyncio.to_thread(generate, wish.algorithm) for _ in range(wish.fresh)]
    keys = {identity: look.keys[identity] for identity in wish.keep} | dict(made)
    signing = wish.signing or made[0][0]
    namespace, spec = look.resource["metadata"]["namespace"], look.observed.spec
    body = manifest(
        look.resource,
        spec.secret_name,
        files(keys.values(), signing),
        type_="Opaque",
        cause=wish.cause,
        nonce=wish.nonce,
        # A reference that was made by POST would stay when it is applied without; the next look adds it.
        owned=not spec.retain if look.version is not None else _NEVER_OWNED,
        version=look.version,
    )
    try:
        if look.version is None:
            await api.create(SECRETS, namespace, body)
        else:
            await api.apply(SECRETS, namespace, body)
    except ConflictError:
        return False
    log.info("Secret %s holds %s; %s signs.", spec.secret_name, ", ".join(sorted(keys)), signing)
    return True


def _count(look: Look, decision: Decision) -> None:
    before = {key.id: key for key in look.observed.memory.keys}
    for key in decision.memory.keys:
        former = before.get(key.id)
        if key.confirmed is not None and former is not None and _newly_confirmed(key, former):
            PROPAGATION.labels(KIND).observe(key.confirmed - key.since)
    ended = {one.started: one for one in look.observed.memory.history}
    for one in decision.memory.history:
        known = ended.get(one.started)
        if one.result is not None and (known is None or known.result is None):
            ROTATIONS.labels(KIND, one.cause, one.result).inc()


def _newly_confirmed(key: Key, former: Key) -> bool:
    return former.confirmed is None and (former.stage, former.since) == (key.stage, key.since)
