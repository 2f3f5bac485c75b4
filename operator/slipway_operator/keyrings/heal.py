"""What becomes of a Secret that somebody else changed, emptied, deleted, or put back from a backup.

Never a silent new key: that would end every session. Healed where each needed key can still be had.
"""

from __future__ import annotations

from slipway_operator.evidence.consumers import NOT_ASKED, lagging, named, ways_out
from slipway_operator.keyrings.model import Cause, Decision, SecretSeen
from slipway_operator.keyrings.steps import IDLE, LONGEST_WAIT, answer, write
from slipway_operator.keyrings.take_in import Situation, needed
from slipway_operator.secret_objects import label_value

ABSENT = frozenset({"Unreachable", "BadStatus", "Redirected", "PortUnknown", "JobRuns", NOT_ASKED})
"""How pods are found that serve no /keys: those of a service that is about to get its first ring."""


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
        return _revoked_meanwhile(seen, available) or _lost(seen, fatal)
    # Also those whose time is over: they leave by `retired`, which looks at the pods first.
    keep = {key.id for key in seen.living} & available
    signing = seen.signing
    if signing is None:
        # The one that signed is revoked.
        return write(seen, "Healing", "The Secret is mended.", keep=keep, signing=seen.heir(keep), cause="Revoke")
    text = "The Secret was changed by somebody else, or is gone: it is written again as the pods know it."
    return write(seen, "Healing", text, keep=keep, signing=signing.id, cause="Healed")


def _elsewhere(seen: Situation) -> Decision | None:
    """New keys would end the sessions of pods that sign with another, whose Secret and status are both gone."""
    reports = seen.observed.consumers.reports
    # What they tell isn't repeated: whoever looks at /keys sees the ids.
    foreign = sorted({report.pod for report in reports if report.signing and report.signing not in seen.revoked})
    silent = (report for report in reports if report.fault and report.fault not in ABSENT)
    unheard = [lagging(report) for report in silent if not report.starting]
    # What is only listed in spec.revoke was never seen here.
    lived = seen.memory.history or any(key.lifetime for key in seen.memory.keys)
    if not foreign and (lived or not unheard):
        return None
    name, ring = seen.spec.secret_name, label_value(seen.observed.name)
    pods = f"pods sign with keys that this KeyRing doesn't know: {_some(foreign)}"
    if not foreign:
        pods = f"pods that run can't be asked which keys they sign with: {named(unheard)}"
    text = (
        f"There is no Secret {name}, and {pods}. New keys would end their sessions, so none are made while such pods "
        f"run. Restore that Secret, with the label slipway.dev/take-over={ring} if it was another's; or, if sessions "
        "may end, make one with new keys and that label, or add the ids under /keys of these pods to spec.revoke."
        f"{'' if foreign else ways_out(unheard)}"
    )
    return answer(seen, "Reconciling", "KeysElsewhere", text, look_again=LONGEST_WAIT / 3)


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _without_memory(seen: Situation, secret: SecretSeen | None) -> Decision:
    """The status is lost, too; what the Secret still holds whole is all there is."""
    genuine = {key.id for key in secret.keys if key.genuine and key.id not in seen.revoked} if secret else set()
    if secret is not None and secret.signing in genuine:
        text = "The Secret was changed by somebody else: keys that aren't whole are dropped."
        return write(seen, "Healing", text, keep=genuine, signing=secret.signing, cause="Healed")
    name = seen.spec.secret_name
    text = (
        f"The Secret {name} holds no key that can sign, and nothing tells what it held. Restore it from a backup; "
        f"or, if all sessions may end, add the ids under /keys of the pods to spec.revoke and: kubectl delete secret "
        f"{name}"
    )
    return answer(seen, "Stalled", "KeysLost", text, look_again=IDLE)


def _lost(seen: Situation, lost: list[str]) -> Decision:
    ids = ", ".join(sorted(lost))
    text = (
        f"The Secret {seen.spec.secret_name} lacks the keys {ids}, and valid tokens need them. Pods go on with what "
        "they have, new ones can't. Restore the Secret from a backup; or, if sessions may end, add these ids to "
        "spec.revoke."
    )
    waiting = _waiting(seen)
    if waiting:
        text += f" Until then {', '.join(waiting)}, revoked, stays in it."
    return answer(seen, "Stalled", "KeysLost", text, look_again=IDLE)


def _revoked_meanwhile(seen: Situation, available: set[str]) -> Decision | None:
    """A revoked key needn't wait for one that is lost, where another can sign and pods can load the Secret as it is.

    If they can't, they go on with what they hold, the lost key too; and the Secret may still be mended.
    """
    secret = seen.observed.secret
    if secret is None or not secret.signing or secret.unfit:
        return None
    keep = available & {key.id for key in seen.living}
    signing = seen.signing.id if seen.signing else seen.heir(keep)
    waiting = _waiting(seen)
    if not waiting or signing not in keep:
        return None
    text = f"Revoked: {', '.join(waiting)}. Other keys are lost; they are told next."
    return write(seen, "Revoking", text, keep=keep, signing=signing, cause="Revoke")


def _waiting(seen: Situation) -> list[str]:
    secret = seen.observed.secret
    return sorted({key.id for key in secret.keys} & seen.revoked) if secret else []


def _available(seen: Situation, secret: SecretSeen | None) -> set[str]:
    genuine = {key.id for key in secret.keys if key.genuine} if secret else set()
    return (genuine | seen.observed.restorable) - seen.revoked
