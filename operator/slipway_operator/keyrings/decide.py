"""The next step of a key ring. Pure: what was observed goes in, one decision comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from slipway_operator.checks import first_answer
from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import Following, named, stuck, unreferred, ways_out
from slipway_operator.keyrings.heal import heal, missing_secret
from slipway_operator.keyrings.model import Cause, Decision, Key, Observed, Verdict
from slipway_operator.keyrings.steps import (
    IDLE,
    LONGEST_WAIT,
    SOON,
    answer,
    asked,
    dispensable,
    due,
    patience,
    rewritten,
    write,
)
from slipway_operator.keyrings.take_in import Situation, lacking, ripe, settled, situation
from slipway_operator.secret_objects import label_value

MOST_TAKEN_OVER, MOST_LIVING = 90, 95
"""Keys; pods take a hundred, new ones among them."""

Check = Callable[[Situation], Decision | None]


def decide(observed: Observed, now: float) -> Decision:
    """What to write, and at most one change of the Secret. `now` in seconds since the epoch."""
    if observed.spec_fault is not None:
        # Without a spec nothing can be taken in: what is remembered stays as it is.
        return Decision(observed.memory, Verdict("Stalled", "InvalidSpec", observed.spec_fault))
    return first_answer(CHECKS, situation(observed, now))


def active(seen: Situation) -> Decision | None:
    if not seen.spec.suspend:
        return None
    return answer(seen, "Suspended", "Suspended", "spec.suspend is set: no key is made, changed or revoked.")


def ours(seen: Situation) -> Decision | None:
    """A Secret of somebody else's is left alone, unless its label offers it."""
    secret = seen.observed.secret
    if secret is None or secret.ours:
        return None
    name, ring = seen.spec.secret_name, seen.observed.name
    if not secret.offered:
        text = (
            f"The Secret {name} was not made for this KeyRing. Name another one, delete it, or let it be taken over: "
            f"kubectl label secret {name} slipway.dev/take-over={label_value(ring)}"
        )
        return answer(seen, "Stalled", "SecretNotOurs", text, look_again=IDLE)
    keys = {key.id for key in secret.keys if key.id not in seen.revoked}
    if secret.signing not in keys:
        text = f"The Secret {name} is offered, but holds no signing key that can be read: mend it, or delete it."
        return answer(seen, "Stalled", "SecretUnusable", text, look_again=IDLE)
    unfit = [each for each in secret.unfit if each not in seen.revoked]
    if unfit or len(keys) > MOST_TAKEN_OVER:
        what = f"keys that can't sign ({', '.join(unfit[:20])})" if unfit else f"more than {MOST_TAKEN_OVER} keys"
        text = (
            f"The Secret {name} is offered, but holds {what}. Taken over it would lose them, and their tokens with "
            "them: wait until these have expired and take the keys out, or list those that have an id in spec.revoke."
        )
        return answer(seen, "Stalled", "SecretUnusable", text, look_again=IDLE)
    lost = lacking(seen.memory, seen.observed, seen.now)
    if lost:
        text = (
            f"The Secret {name} is offered, but lacks keys of this ring that valid tokens need: {', '.join(lost)}. Put "
            "them into it, or list their ids in spec.revoke if sessions may end."
        )
        return answer(seen, "Stalled", "SecretUnusable", text, look_again=IDLE)
    # Not as Created: nothing tells whether its other keys have signed.
    text = f"The Secret {name} is taken over."
    return write(seen, "TakingOver", text, keep=keys, signing=secret.signing, cause="Healed", nonce=seen.spec.nonce)


def revoked(seen: Situation) -> Decision | None:
    """Before all else but suspend: what is revoked leaves the Secret, whoever follows or not."""
    secret = seen.observed.secret
    held = {key.id for key in secret.keys} if secret else set()
    dropped = sorted(held & seen.revoked)
    if not dropped:
        return None
    return rewritten(seen, "Revoking", f"Revoked: {', '.join(dropped)}. Tokens of it are refused.", "Revoke")


def holds(seen: Situation) -> Decision | None:
    spec, lifetime = seen.spec, seen.lifetime
    parts = (spec.propagation, spec.validator_cache, spec.propagation, lifetime, spec.leeway)
    if spec.rotate_every > sum(parts):
        return None
    text = (
        f"rotateEvery {spec.rotate_every:.0f}s is not longer than one rotation takes: propagation "
        f"{spec.propagation:.0f}s + validatorCache {spec.validator_cache:.0f}s + propagation {spec.propagation:.0f}s "
        f"+ token lifetime {lifetime:.0f}s (the longest that spec or a pod tells) + leeway {spec.leeway:.0f}s = "
        f"{sum(parts):.0f}s."
    )
    return answer(seen, "Stalled", "SpecCannotHold", text, look_again=IDLE)


def owned(seen: Situation) -> Decision | None:
    secret = seen.observed.secret
    if secret is None or secret.owned != seen.spec.retain:
        return None
    return rewritten(seen, "Stable", "The Secret follows deletionPolicy.", secret.cause)


def reserved(seen: Situation) -> Decision | None:
    """There is always a reserve of the wanted algorithm, so that a revoke has somewhere to go."""
    fitting = [key for key in seen.reserves if key.algorithm == seen.spec.algorithm]
    if not fitting or dispensable(seen):
        return rewritten(seen, "Publishing", "A new key is published, in reserve.", "Schedule")
    return None


def consumed(seen: Situation) -> Decision | None:
    """Something refers to the Secret: else nothing seen proves anything, and only what needs no evidence was done."""
    endpoint = seen.spec.endpoint
    reason, text = unreferred(seen.observed.consumers, seen.spec.secret_name, endpoint.selector if endpoint else "")
    if not reason:
        return None
    text += " Until then no key begins to sign, and none is retired."
    if reason == "NoConsumers" and _steps_wait(seen):
        return answer(seen, "Stalled", reason, text, look_again=LONGEST_WAIT)
    left = [key for key in seen.memory.keys if key.stage == "Revoked" and key.confirmed is None and key.lifetime]
    # A ring may be made long before what uses it, and whoever waits for it to be Ready mustn't wait for that.
    state: State = "Reconciling" if left or reason != "NoConsumers" else "Ready"
    return answer(seen, state, reason, text, look_again=LONGEST_WAIT)


def _steps_wait(seen: Situation) -> bool:
    """Whether a rotation is due or under way, or a key's time is over."""
    turning = bool(seen.memory.history) and seen.memory.history[0].result is None and seen.memory.history[0].origin
    retiring = [key for key in seen.living if key.stage == "Retiring"]
    return seen.now >= due(seen) or bool(turning) or any(_over(key, seen.now) for key in retiring)


def retired(seen: Situation) -> Decision | None:
    """A key leaves when its last token has expired, and every pod is seen to sign with another just now."""
    signing = seen.signing
    ended = {key.id for key in seen.living if key.stage == "Retiring" and _over(key, seen.now)}
    if not ended or signing is None or not seen.holds(signing).all:
        return None
    keep = {key.id for key in seen.living} - ended
    text = f"Retired: {', '.join(sorted(ended))}; no valid token needs it any more."
    return write(seen, "Retired", text, keep=keep, signing=signing.id, fresh=0)


def rotated(seen: Situation) -> Decision | None:
    """The reserve signs once every pod holds it, validators had time to fetch it, and the last rotation is through."""
    signing, reserve = seen.signing, next(iter(seen.reserves), None)
    if signing is None or reserve is None or seen.now < due(seen):
        return None
    nonce = seen.spec.nonce if asked(seen) else ""
    if signing.confirmed is None:
        return None  # told by `followed`
    fitting = [key for key in seen.reserves if key.algorithm == seen.spec.algorithm]
    if len(seen.living) >= MOST_LIVING and len(fitting) < 2:  # noqa: PLR2004 - one that signs then, and another
        text = f"The ring holds {len(seen.living)} keys, and pods take no more: the next signs when one has retired."
        return answer(seen, "Reconciling", "TooManyKeys", text, look_again=LONGEST_WAIT)
    seen_now = seen.holds(reserve)
    if reserve.confirmed is None or not seen_now.all:
        text = "The next key signs once every pod holds it."
        return lag(seen, seen_now, reserve, text)
    # Counted from a look after which no pod can start with files from before.
    if not ripe(reserve, seen.spec, seen.now):
        early = settled(reserve, seen.spec) - seen.now
        left = max(reserve.confirmed, settled(reserve, seen.spec)) + seen.spec.validator_cache - seen.now
        state: State = "Reconciling" if nonce else "Ready"
        text = f"The next key, {reserve.id}, signs in {left:.0f} s, when every validator has fetched it."
        wait = early + SOON / 10 if early >= 0 else left
        return answer(seen, state, "Publishing", text, look_again=min(wait, IDLE), following=seen_now)
    keep = {key.id for key in seen.living}
    cause: Cause = "Nonce" if nonce else "Schedule"
    text = f"The key {reserve.id} signs from now on."
    return write(seen, "Rotating", text, keep=keep, signing=reserve.id, cause=cause, nonce=seen.spec.nonce or None)


def followed(seen: Situation) -> Decision | None:
    """Every pod signs with the key that the Secret names, and holds none that is revoked."""
    signing = seen.signing
    if signing is None:
        return None
    now = seen.holds(signing)
    revoked = next((key for key in seen.memory.keys if key.stage == "Revoked" and key.confirmed is None), None)
    if revoked is not None:
        holding = {r.pod for r in seen.observed.consumers.reports if r.fault or r.keys & seen.revoked}
        reached = [pod for pod in seen.observed.consumers.pods if pod not in holding]
        text = f"{revoked.id} is revoked, and has to leave every pod. Reached: {', '.join(reached[:20]) or 'none'}."
        return lag(seen, seen.holds(revoked), revoked, text, "Revoking")
    if signing.confirmed is None and not now.all:
        return lag(seen, now, signing, f"Not every pod signs with {signing.id} yet.")
    return None


def _rests(seen: Situation) -> Decision:
    signing = seen.signing
    if signing is None:
        raise AssertionError("a Secret that is whole names a key that signs")
    now = seen.holds(signing)
    retiring = [key for key in seen.living if key.stage == "Retiring"]
    if retiring:
        ends = [key.retire_after for key in retiring if key.retire_after is not None]
        wait = (
            min(ends) - seen.now if len(ends) == len(retiring) else settled(signing, seen.spec) - seen.now + SOON / 10
        )
        text = f"{signing.id} signs; {', '.join(key.id for key in retiring)} stays until its last token has expired."
        if now.all or not any(end <= seen.now for end in ends):
            return answer(seen, "Ready", "Retiring", text, look_again=min(max(wait, SOON), 30.0), following=now)
        return lag(seen, now, signing, "A key can leave once every pod is seen to sign with another.")
    text = f"{signing.id} signs; a reserve is published."
    wait = min(max(due(seen) - seen.now, SOON), IDLE, *(_ripens(seen, key) for key in seen.reserves))
    return answer(seen, "Ready", "Stable", text, look_again=wait, following=now)


def _ripens(seen: Situation, reserve: Key) -> float:
    """Seconds until a look is due that may confirm it for good: so a rotation that is asked for needn't wait for it.

    Then until it may sign, and another, whose algorithm isn't wanted, may go.
    """
    if reserve.confirmed is None:
        return patience(seen, reserve)
    end = settled(reserve, seen.spec)
    if reserve.confirmed <= end:
        return end - seen.now + SOON / 10 if end >= seen.now else patience(seen, reserve)
    return IDLE if ripe(reserve, seen.spec, seen.now) else reserve.confirmed + seen.spec.validator_cache - seen.now


def lag(seen: Situation, found: Following, key: Key, text: str, reason: str = "ConsumersLagging") -> Decision:
    """Reconciling until the pods follow; the longer it takes, the more seldom they are asked."""
    if found.nobody and seen.observed.consumers.wanted:
        message = f"{text} No pod runs, and {seen.observed.consumers.wanted} are wanted."
        return answer(seen, "Reconciling", "AwaitingConsumers", message, look_again=patience(seen, key))
    if seen.spec.endpoint is None:
        left = key.since + seen.spec.propagation - seen.now
        message = f"{text} By Time: in {max(left, 0):.0f} s."
        return answer(seen, "Reconciling", "AwaitingPropagation", message, look_again=max(left, SOON), following=found)
    behind = [one.pod for one in found.opposed]
    message = f"{text} Waiting for {named(found.lagging)}.{ways_out(found.lagging)}"
    state: State = "Reconciling"
    if end := stuck(found, key.since, seen.now):
        state, reason = "Stalled", end.reason
    return answer(seen, state, reason, message, look_again=patience(seen, key), following=found, nudge=_bounded(behind))


def _bounded(pods: Iterable[str], most: int = 500) -> tuple[str, ...]:
    return tuple(sorted(pods))[:most]


def _over(key: Key, now: float) -> bool:
    return key.retire_after is not None and key.retire_after <= now


def whole(seen: Situation) -> Decision | None:
    """What somebody else changed, emptied or put back from a backup is healed, or said to be lost."""
    secret = seen.observed.secret
    if secret is None:
        return missing_secret(seen)
    return None if secret.intact and not seen.memory.broken else heal(seen)


CHECKS: tuple[Check, ...] = (
    active, ours, whole, revoked, holds, reserved, owned, consumed, followed, retired, rotated, _rests,
)  # fmt: skip
