"""The status of a DatabaseLogin: what the operator remembers, and what people read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.conditions import by_state, cut, merged
from slipway_operator.logins.model import Decision, Memory, Session
from slipway_operator.rotations import consumers, history_of, history_shown
from slipway_operator.times import seconds, timestamp

SESSIONS_LIMIT = 10
TEXT_LIMIT = 64


def memory_of(status: Mapping[str, Any]) -> Memory:
    """What a former look wrote; of a status that never was written, nothing."""
    return Memory(
        role=status.get("role", ""),
        role_since=seconds(status["roleSince"]) if status.get("roleSince") else None,
        handled_nonce=status.get("handledNonce", ""),
        scrambled=frozenset(status.get("scrambled") or ()),
        history=history_of(status.get("history") or ()),
        server=status.get("server", ""),
    )


def document(decision: Decision, former: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    """The whole status, within the bounds of its definition. `generation`: of the resource that was read."""
    memory, verdict = decision.memory, decision.verdict
    conditions = by_state(verdict.state, verdict.reason, verdict.message)
    found: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merged(conditions, former.get("conditions") or (), generation, now),
        "role": memory.role,
        "roleSince": timestamp(memory.role_since) if memory.role_since is not None else "",
        "nextRotation": timestamp(int(verdict.next_rotation)) if verdict.next_rotation is not None else "",
        "handledNonce": memory.handled_nonce,
        "scrambled": sorted(memory.scrambled),
        "server": memory.server,
        "consumers": consumers(verdict.running, verdict.confirmed, verdict.lagging),
        "sessions": _sessions(verdict.old_sessions),
        "history": history_shown(memory.history),
    }
    return {name: value for name, value in found.items() if value not in ("", None, [], {})}


def _sessions(old: tuple[Session, ...]) -> dict[str, Any]:
    shown = [_session(one) for one in old[:SESSIONS_LIMIT]]
    return {"old": len(old), **({"oldest": shown} if shown else {})}


def _session(session: Session) -> dict[str, Any]:
    found = {
        "pid": session.pid,
        "applicationName": cut(session.application_name, TEXT_LIMIT),
        "state": cut(session.state, TEXT_LIMIT),
        "started": timestamp(session.started) if session.started is not None else "",
    }
    return {name: value for name, value in found.items() if value != ""}
