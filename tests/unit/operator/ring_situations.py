"""Rings as a look may find them, in few words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.keyrings.model import (
    Decision,
    HeldKey,
    Key,
    Memory,
    Observed,
    SecretSeen,
    Spec,
    Stage,
    WriteSecret,
)
from slipway_operator.rotations import Rotation

NOW = 10_000_000.0
DAY = 86_400.0
LONG_AGO = NOW - DAY
"""Longer than any overlap here, shorter than `rotate_every`."""
SEEN = LONG_AGO + 500.0
"""When all pods were first seen to follow, with no old files left to start with."""

SPEC = Spec("keys", Endpoint("app=slipway"), nonce="1")
STEADY = Memory(
    (
        Key("a", "EdDSA", "Signing", LONG_AGO, LONG_AGO, SEEN, lifetime=SPEC.token_lifetime),
        Key("b", "EdDSA", "Published", LONG_AGO, LONG_AGO, SEEN),
    ),
    "1",
)


def key(name: str, stage: Stage, **changes: Any) -> Key:
    return replace(Key(name, "EdDSA", stage, LONG_AGO, LONG_AGO), **changes)


def secret(held: str, signing: str, **changes: Any) -> SecretSeen:
    """`held`: a letter a key."""
    whole = SecretSeen(tuple(HeldKey(each, "EdDSA") for each in held), signing, True, False, True, False, nonce="1")
    return replace(whole, **changes)


def pod(name: str, held: str, signing: str, **changes: Any) -> Report:
    return Report(name, keys=frozenset(held), signing=signing, **changes)


def ring(**changes: Any) -> Observed:
    """Two pods that follow a ring of `a`, which signs, and `b`, its reserve."""
    pods = Consumers((pod("p", "ab", "a"), pod("q", "ab", "a")), refers=True)
    return replace(Observed("ring", SPEC, STEADY, secret("ab", "a"), pods), **changes)


def spec(**changes: Any) -> Spec:
    return replace(SPEC, **changes)


def pods(*reports: Report, wanted: int = 2) -> Consumers:
    return Consumers(reports, 0 if reports else wanted, refers=True)


def written(decision: Decision) -> WriteSecret:
    assert decision.effect is not None, decision.verdict
    return decision.effect


def stages(decision: Decision) -> dict[str, Stage]:
    return {each.id: each.stage for each in decision.memory.keys}


def told(decision: Decision) -> tuple[str, str]:
    return decision.verdict.state, decision.verdict.reason


def of(decision: Decision, name: str) -> Key:
    return next(each for each in decision.memory.keys if each.id == name)


ASKED = {"spec": spec(nonce="2")}


def rotated(**signing: Any) -> Memory:
    """`b` signs since a while; `a` is retiring."""
    signs = replace(key("b", "Signing", since=NOW - 300.0), **signing)
    keys = (key("a", "Retiring", since=NOW - 300.0), signs, key("c", "Published", confirmed=SEEN))
    return Memory(keys, "1", (Rotation("b", NOW - 300.0, "Nonce", "a"),))


AFTER = {"secret": secret("abc", "b")}
ALL = pods(pod("p", "abc", "b"), pod("q", "abc", "b"))
ONE_BEHIND = pods(pod("p", "abc", "b"), pod("q", "abc", "a"))


def ending(at: float) -> Memory:
    memory = rotated(confirmed=NOW - 5000.0, since=NOW - 6000.0)
    return replace(memory, keys=(replace(memory.keys[0], retire_after=at), *memory.keys[1:]))


REVOKED_A = {"spec": spec(revoke=frozenset({"a"}))}
