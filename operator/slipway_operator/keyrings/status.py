"""The status of a KeyRing: what the operator remembers, and what people read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.conditions import Condition, by_state, merged
from slipway_operator.keyrings.model import Decision, Key, Memory
from slipway_operator.rotations import consumers, history_of, history_shown
from slipway_operator.times import seconds, timestamp


def memory_of(status: Mapping[str, Any]) -> Memory:
    """What a former look wrote; of a status that never was written, nothing."""
    return Memory(
        keys=tuple(_key_of(key) for key in status.get("keys") or ()),
        handled_nonce=status.get("handledNonce", ""),
        history=history_of(status.get("history") or ()),
        broken=bool(status.get("broken")),
    )


def document(decision: Decision, former: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    """The whole status, within the bounds of its definition. `generation`: of the resource that was read."""
    memory, verdict = decision.memory, decision.verdict
    signing = next((key for key in memory.keys if key.stage == "Signing"), None)
    conditions = by_state(verdict.state, verdict.reason, verdict.message)
    if verdict.unverified:
        text = "evidence is Time: no pod is asked whether it follows."
        conditions = (*conditions, Condition("Unverified", "True", "EvidenceIsTime", text))
    found: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merged(conditions, former.get("conditions") or (), generation, now),
        "keys": [_key(key) for key in memory.keys],
        "signing": signing.id if signing else "",
        "signingSince": timestamp(signing.since) if signing else "",
        "nextRotation": timestamp(int(verdict.next_rotation)) if verdict.next_rotation is not None else "",
        "handledNonce": memory.handled_nonce,
        "broken": memory.broken or None,
        "consumers": consumers(verdict.running, verdict.confirmed, verdict.lagging),
        "history": history_shown(memory.history),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [], {})}


def _key(key: Key) -> dict[str, Any]:
    found = {
        "id": key.id,
        "algorithm": key.algorithm,
        "state": key.stage,
        "created": timestamp(key.created),
        "since": timestamp(key.since),
        "confirmed": timestamp(key.confirmed) if key.confirmed is not None else "",
        "tokenLifetime": f"{key.lifetime:.3f}s" if key.lifetime else "",
        "retireAfter": timestamp(key.retire_after) if key.retire_after is not None else "",
    }
    return {name: value for name, value in found.items() if value}


def _key_of(found: Mapping[str, Any]) -> Key:
    created = seconds(found.get("created"))
    return Key(
        id=found["id"],
        algorithm=found.get("algorithm", "EdDSA"),
        stage=found["state"],
        created=created,
        since=seconds(found.get("since"), created),
        confirmed=seconds(found["confirmed"]) if found.get("confirmed") else None,
        retire_after=seconds(found["retireAfter"]) if found.get("retireAfter") else None,
        lifetime=float(found["tokenLifetime"].removesuffix("s")) if found.get("tokenLifetime") else 0.0,
    )
