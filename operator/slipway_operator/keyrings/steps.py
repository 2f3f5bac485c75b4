"""How a check answers, and what a write of the Secret is made of."""

from __future__ import annotations

from collections.abc import Iterable

from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import Following
from slipway_operator.keyrings.model import Cause, Decision, Key, Verdict, WriteSecret
from slipway_operator.keyrings.take_in import Situation, ripe

SOON, IDLE = 1.0, 300.0
"""Seconds until the next look: while something is under way, and where nothing is."""
LONGEST_WAIT = 15.0


def patience(seen: Situation, key: Key) -> float:
    """Often at first; a pod that has lagged for minutes is asked every 15 s."""
    return min(LONGEST_WAIT, max(SOON, (seen.now - key.since) / 20))


def asked(seen: Situation) -> bool:
    """Whether a nonce asks for a rotation. One that was taken away asks for nothing."""
    return seen.spec.nonce not in ("", seen.memory.handled_nonce)


def due(seen: Situation) -> float:
    """When the next rotation is to start, in seconds since the epoch."""
    signing = seen.signing
    if asked(seen) or signing is None:
        return seen.now
    return signing.since + seen.spec.rotate_every


def answer(
    seen: Situation,
    state: State,
    reason: str,
    message: str,
    *,
    look_again: float | None = None,
    following: Following | None = None,
    nudge: tuple[str, ...] = (),
    effect: WriteSecret | None = None,
) -> Decision:
    """The whole decision of a check."""
    signing = seen.signing
    if following is None and signing is not None:
        following = seen.holds(signing)
    found = following or Following()
    verdict = Verdict(
        state,
        reason,
        message,
        unverified=seen.spec.endpoint is None,
        running=len(seen.observed.consumers.pods),
        confirmed=found.heard,
        lagging=found.lagging,
        next_rotation=signing.since + seen.spec.rotate_every if signing and not seen.spec.suspend else None,
    )
    return Decision(seen.memory, verdict, effect, nudge, look_again)


def write(
    seen: Situation,
    reason: str,
    message: str,
    *,
    keep: Iterable[str],
    signing: str | None,
    cause: Cause | None = None,
    nonce: str | None = None,
    fresh: int | None = None,
) -> Decision:
    """A write of the Secret, with a new reserve where there would be none."""
    kept = tuple(sorted(set(keep)))
    secret = seen.observed.secret
    if fresh is None:
        left = [key for key in seen.reserves if key.id in kept and key.id != signing]
        missing = not any(key.algorithm == seen.spec.algorithm for key in left)
        fresh = int(missing) + int(signing is None)
    effect = WriteSecret(
        kept,
        signing,
        fresh,
        seen.spec.algorithm,
        cause or (secret.cause if secret else "Created"),
        seen.memory.handled_nonce if nonce is None else nonce,
    )
    return answer(seen, "Reconciling", reason, message, look_again=0.0, effect=effect)


def rewritten(seen: Situation, reason: str, message: str, cause: Cause) -> Decision:
    """All that lives, and signs if it may: else the reserve does, else a new key. Unfit reserves leave."""
    secret = seen.observed.secret
    held = {key.id for key in secret.keys} if secret else set()
    living = [key for key in seen.living if key.id in held]
    signing = secret.signing if secret else ""
    if signing not in {key.id for key in living}:
        return write(seen, reason, message, keep={key.id for key in living}, signing=seen.heir(held), cause=cause)
    keep = {key.id for key in living} - dispensable(seen)
    return write(seen, reason, message, keep=keep, signing=signing, cause=cause)


def dispensable(seen: Situation) -> frozenset[str]:
    """Reserves of an algorithm that is no longer wanted, where another may sign. No token was made with them."""
    wanted = seen.spec.algorithm
    if not seen.observed.consumers.refers or not any(
        key.algorithm == wanted and ripe(key, seen.spec, seen.now) for key in seen.reserves
    ):
        return frozenset()
    return frozenset(key.id for key in seen.reserves if key.algorithm != wanted)
