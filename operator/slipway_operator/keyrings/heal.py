"""What becomes of a Secret that somebody else changed, emptied, deleted, or put back from a backup.

Never a silent new key: that would end every session. Healed where each needed key can still be had.
"""

from __future__ import annotations

from slipway_operator.keyrings.model import Cause, Decision, SecretSeen
from slipway_operator.keyrings.steps import IDLE, LONGEST_WAIT, answer, write
from slipway_operator.keyrings.take_in import Situation, needed
from slipway_operator.secret_objects import label_value


def missing_secret(seen: Situation) -> Decision:
    """There is no Secret: the first one, or one that was deleted."""
    if not seen.living:
        if elsewhere := _elsewhere(seen):
            return elsewhere
        # Revoked keys in the memory: whoever revoked all of them accepted that their sessions end.
        cause: Cause = "Revoke" if seen.revoked else "Created"
        text = "The first keys are made." if cause == "Created" else "All keys were revoked; new ones are made."
        return write(seen, "Creating", text, keep=(), signing=None, cause=cause, nonce=seen.spec.nonce)
    return heal(seen)


def heal(seen: Situation) -> Decision:
    secret = seen.observed.secret
    if not seen.living:
        return _without_memory(seen, secret)
    available = _available(seen, secret)
    fatal = [key.id for key in seen.living if key.id not in available and needed(key, seen.observed, seen.now)]
    if fatal:
        return _lost(seen, fatal)
    wanted = {key.id for key in seen.living if key.stage == "Published" or needed(key, seen.observed, seen.now)}
    keep = wanted & available
    signing = seen.signing
    if signing is None:
        # The one that signed is revoked.
        reserve = next((key.id for key in seen.reserves if key.id in keep), None)
        return write(seen, "Healing", "The Secret is mended.", keep=keep, signing=reserve, cause="Revoke")
    text = "The Secret was changed by somebody else, or is gone: it is written again as the pods know it."
    return write(seen, "Healing", text, keep=keep, signing=signing.id, cause="Healed")


def _elsewhere(seen: Situation) -> Decision | None:
    """New keys would end the sessions of pods that sign with another, whose Secret and status are both gone."""
    signed = {report.pod: report.signing for report in seen.observed.consumers.reports if report.signing}
    foreign = {pod: key for pod, key in signed.items() if key not in seen.revoked}
    if not foreign:
        return None
    name, ring = seen.spec.secret_name, label_value(seen.observed.name)
    text = (
        f"There is no Secret {name}, and pods sign with {', '.join(sorted(set(foreign.values())))}, which this KeyRing "
        f"doesn't know ({', '.join(sorted(foreign)[:5])}). Restore that Secret, with the label "
        f"slipway.dev/take-over={ring} if it was another's; or, if sessions may end, add these ids to spec.revoke. "
        "When no such pod runs any more, new keys are made."
    )
    return answer(seen, "Reconciling", "KeysElsewhere", text, look_again=LONGEST_WAIT / 3)


def _without_memory(seen: Situation, secret: SecretSeen | None) -> Decision:
    """The status is lost, too; what the Secret still holds whole is all there is."""
    genuine = {key.id for key in secret.keys if key.genuine and key.id not in seen.revoked} if secret else set()
    if secret is not None and secret.signing in genuine:
        text = "The Secret was changed by somebody else: keys that aren't whole are dropped."
        return write(seen, "Healing", text, keep=genuine, signing=secret.signing, cause="Healed")
    name = seen.spec.secret_name
    text = (
        f"The Secret {name} holds no key that can sign, and nothing tells what it held. Restore it from a backup; "
        f"or, if all sessions may end: kubectl delete secret {name}"
    )
    return answer(seen, "Stalled", "KeysLost", text, look_again=IDLE)


def _lost(seen: Situation, lost: list[str]) -> Decision:
    ids = ", ".join(sorted(lost))
    text = (
        f"The Secret {seen.spec.secret_name} lacks the keys {ids}, and valid tokens need them. Pods go on with what "
        "they have, new ones can't. Restore the Secret from a backup; or, if sessions may end, add these ids to "
        "spec.revoke."
    )
    secret = seen.observed.secret
    waiting = sorted({key.id for key in secret.keys} & seen.revoked) if secret else []
    if waiting:
        text += f" Until then {', '.join(waiting)}, revoked, stays in it."
    return answer(seen, "Stalled", "KeysLost", text, look_again=IDLE)


def _available(seen: Situation, secret: SecretSeen | None) -> set[str]:
    genuine = {key.id for key in secret.keys if key.genuine} if secret else set()
    return (genuine | seen.observed.restorable) - seen.revoked
