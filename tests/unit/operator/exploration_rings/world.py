"""A small world around a key ring, in which time is only ever an age.

A tick is the unit: validators keep what they fetched for `CACHE` ticks, tokens live for `LIFETIME`, and a pod that
starts may have mounted files that are up to `PROPAGATION` old. Pods that run load new files late, or never.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.keyrings.model import Cause, HeldKey, Memory, Observed, SecretSeen, Spec, WriteSecret

CACHE, LIFETIME, PROPAGATION = 1.0, 1.0, 1.0
NOW = 1000.0
"""Each look happens now: it is the past that moves away, and what is further than `FAR` is all the same."""
FAR = 4.0
WANTED = 3

SPEC = Spec(
    secret_name="keys",
    endpoint=Endpoint("app=slipway"),
    rotate_every=100_000.0,
    token_lifetime=LIFETIME,
    leeway=0.0,
    validator_cache=CACHE,
    propagation=PROPAGATION,
    nonce="before",
)


class Files(NamedTuple):
    """The Secret, or what a pod loaded of it. `ours`: as the operator wrote it."""

    keys: frozenset[str]
    signing: str
    cause: Cause = "Created"
    nonce: str = "before"
    ours: bool = True


class Pod(NamedTuple):
    """`mounted`: still in its init containers, so nobody asks it; `age`: of its files then."""

    stage: Literal["mounted", "runs"]
    files: Files
    age: int = 0


class Step(NamedTuple):
    """The operator's look, between its writes. `version`: the Secret that was read."""

    at: Literal["idle", "decided", "told"] = "idle"
    memory: Memory | None = None
    effect: WriteSecret | None = None
    version: Files | None = None
    reason: str = ""


class World(NamedTuple):
    """`issued`, `lacked`: ages, by key: the youngest token, and when a pod last showed validators a set without it.

    `kept`: what the operator's process still has of keys. `free`: keys that a
    revoke made sign: of these nothing is promised. `left`: the disturbances that may still come.
    """

    secret: Files | None
    memory: Memory
    step: Step
    pods: tuple[Pod, ...]
    issued: tuple[tuple[str, int], ...]
    lacked: tuple[tuple[str, int], ...]
    kept: frozenset[str]
    made: int
    nonce: str
    revoke: frozenset[str]
    free: frozenset[str]
    left: int


Sight = Literal["all", "no pods", "nothing"]
"""What is seen of what uses the Secret: the list of pods may come back empty, and so may those of all workloads."""


def observed(world: World, sight: Sight = "all") -> Observed:
    secret = world.secret
    seen = None
    if secret is not None:
        held = tuple(HeldKey(key, "EdDSA") for key in sorted(secret.keys))
        seen = SecretSeen(held, secret.signing, ours=True, offered=False, intact=secret.ours, owned=False,
                          cause=secret.cause, nonce=secret.nonce)  # fmt: skip
    reports = tuple(
        Report(str(number), keys=pod.files.keys, signing=pod.files.signing)
        for number, pod in enumerate(world.pods)
        if pod.stage == "runs" and sight == "all"
    )
    spec = replace(SPEC, nonce=world.nonce, revoke=world.revoke)
    consumers = Consumers() if sight == "nothing" else Consumers(reports, 0 if reports else WANTED, refers=True)
    return Observed("ring", spec, world.memory, seen, consumers, world.kept)


def aged(memory: Memory, by: float) -> Memory:
    """As it is that much later."""

    def one(at: float | None) -> float | None:
        return None if at is None else max(at - by, NOW - FAR)

    keys = tuple(
        replace(
            key,
            created=NOW - FAR,
            since=one(key.since) or 0.0,
            confirmed=one(key.confirmed),
            retire_after=one(key.retire_after),
        )
        for key in memory.keys
    )
    return replace(memory, keys=tuple(sorted(keys, key=lambda key: key.id)), history=())
