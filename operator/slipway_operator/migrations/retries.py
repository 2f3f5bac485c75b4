"""When a Job is made, again or for the first time, and when it is given up."""

from __future__ import annotations

import hashlib

from slipway_operator.migrations.model import CreateJob, Decision, Phase, Purpose, Trouble
from slipway_operator.migrations.remember import PLAN_CHANGED
from slipway_operator.migrations.situation import SOON, Situation, answer

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Bounds of the pause after a failed Job, seconds; it doubles with each."""

DOING: dict[Purpose, tuple[Phase, str, str]] = {
    "plan": ("Planning", "Planning", "Asking the image what it would change"),
    "withdraw": ("Planning", "Withdrawing", "Taking back the announcement of contracts that another image left"),
    "expand": ("Expanding", "Expanding", "Running the revisions that earlier releases can work with"),
    "backup": ("BackingUp", "BackingUp", "Making a backup before the contract"),
    "announce": ("Announcing", "Announcing", "Announcing the contract, so that no pod that it breaks starts any more"),
    "contract": ("Contracting", "Contracting", "Running the contract: no pod is left that it breaks"),
}
"""Of each purpose: phase, reason, and the beginning of a sentence."""


def start(seen: Situation, purpose: Purpose) -> Decision:
    """Make the Job, or say why not yet (a pause after a failure) or not any more (failed too often, or for good).

    A plan only reads, so it is asked for again every `LONGEST_PAUSE` even then: that is how a mended fault is seen.
    """
    phase, reason, sentence = DOING[purpose]
    attempt, hopeless = seen.memory.attempts.get(purpose, 0), is_hopeless(seen, purpose)
    wait = _due(seen, purpose, attempt) - seen.now if attempt and not _mended(seen) else 0.0
    if hopeless and (purpose != "plan" or wait > 0):
        return _stalled(seen, phase, look_again=wait if purpose == "plan" else LONGEST_PAUSE)
    if wait > 0:
        failure = _failure(seen)
        message = f"{failure.message} Try {attempt + 1} of {seen.spec.retries + 1} follows."
        return answer(seen, "Reconciling", failure.reason, message, phase=phase, look_again=wait)
    if hopeless:
        return _stalled(seen, phase, effect=CreateJob(purpose, attempt), look_again=SOON)
    return answer(
        seen, "Reconciling", reason, f"{sentence}.", phase=phase, effect=CreateJob(purpose, attempt), look_again=SOON
    )


def is_hopeless(seen: Situation, purpose: Purpose) -> bool:
    """Whether it was given up, and the same would be tried again."""
    return _given_up(seen, purpose) and not _mended(seen)


def _given_up(seen: Situation, purpose: Purpose) -> bool:
    """Whether only a person can help: the failure is lasting, or the tries are used up."""
    tried, failure = seen.memory.attempts.get(purpose, 0), seen.memory.failure
    return tried > 0 and (tried > seen.spec.retries or (failure is not None and failure.lasting))


def _mended(seen: Situation) -> bool:
    """Whether the Job that failed last would be made otherwise now; then one more try is due."""
    return any(job.outdated and job.name == seen.memory.ended for job in seen.observed.jobs)


def stalled_plan(seen: Situation) -> Decision:
    """While a plan that was given up is asked for once more, people go on reading why."""
    return _stalled(seen, "Planning", look_again=SOON)


def _stalled(
    seen: Situation, phase: Phase, *, effect: CreateJob | None = None, look_again: float | None = None
) -> Decision:
    failure = _failure(seen)
    message = (
        f"{failure.message} It isn't tried again as it is: change the workload, or limits in the spec, or, once it is "
        "mended in the database, set the annotation slipway.dev/replan to another value."
    )
    if phase == "Planning":
        message = f"{failure.message} Mend it; it is looked at again every {LONGEST_PAUSE / 60:.0f} minutes."
    return answer(seen, "Stalled", failure.reason, message, phase=phase, effect=effect, look_again=look_again)


def _failure(seen: Situation) -> Trouble:
    # A failure is forgotten when the next Job succeeds: so these tries ended because the plan had changed.
    return seen.memory.failure or Trouble(PLAN_CHANGED, "Each time, what was found wasn't what had been planned.")


def _due(seen: Situation, purpose: Purpose, attempt: int) -> float:
    failed_at = min(seen.memory.failed_at or 0.0, seen.now)
    return failed_at + (LONGEST_PAUSE if _given_up(seen, purpose) else pause(seen.observed.uid, purpose, attempt))


def pause(uid: str, purpose: Purpose, attempt: int) -> float:
    """Seconds to wait after failure number `attempt`: doubled each time, and between half and all of that by a hash."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
    digest = hashlib.sha256(f"{uid}/{purpose}/{attempt}".encode()).digest()
    return longest * (0.5 + int.from_bytes(digest[:2]) / 0x20000)
