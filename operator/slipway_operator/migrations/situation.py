"""What a check looks at, and how it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipway_operator.migrations.images import is_rewritten
from slipway_operator.migrations.model import (
    CreateJob,
    Decision,
    DeleteJob,
    Finding,
    Memory,
    Observed,
    Phase,
    Plan,
    Revision,
    Spec,
    Verdict,
)
from slipway_operator.migrations.remember import held_back, pending

SOON, SLOW = 2.0, 30.0
"""Seconds until the next look: while something is under way, and where only others can move."""
YOUNG = 120.0
"""Seconds in which what was applied together with the resource should have come, and is soon looked for."""

State = Literal["Ready", "Reconciling", "Stalled", "Suspended"]

NO_PLAN = Plan(digest="", current="", target="")
RANK = {"Warning": 1, "Error": 2}


@dataclass(frozen=True, slots=True)
class Situation:
    """An observation, with all that ended taken into `memory`; `now` in seconds since the epoch."""

    observed: Observed
    memory: Memory
    now: float

    @property
    def spec(self) -> Spec:
        return self.observed.spec

    @property
    def plan(self) -> Plan:
        return self.memory.plan or NO_PLAN

    @property
    def pending(self) -> tuple[Revision, ...]:
        return pending(self.memory)

    @property
    def stranded(self) -> bool:
        """Whether a pending expand, which the new image needs, comes after a contract: a release was skipped."""
        return any(revision.kind == "expand" for revision in held_back(self.plan)) and bool(self.pending)

    @property
    def expands(self) -> bool:
        """Whether revisions are to be run before the rollout."""
        before_contracts = len(self.plan.revisions) > len(held_back(self.plan))
        return before_contracts and "expand" not in self.memory.done and not self.stranded

    @property
    def contracts(self) -> tuple[str, ...]:
        """Ids of the pending revisions that must not run while a pod lives that they break."""
        if not self.pending:
            return ()
        return tuple(revision.id for revision in held_back(self.plan) if revision.kind == "contract")

    @property
    def objections(self) -> tuple[Finding, ...]:
        """Findings that stop the plan; failOn Never lets all pass."""
        least = RANK.get(self.spec.fail_on, len(RANK) + 1)
        found = self.plan.findings
        return tuple(each for each in found if RANK[each.level] >= least and each.rule not in self.spec.ignore)

    @property
    def rewritten(self) -> str:
        """A sentence where the workload names the wished image otherwise, as a webhook that rewrites images does."""
        deployment, wished = self.observed.workload, self.spec.image
        if deployment is None or not deployment.image:
            return ""
        if not is_rewritten(wished, deployment.image, self.memory.image_id):
            return ""
        return (
            f"Deployment {self.spec.workload} has image {deployment.image} in the place of {wished}, as an admission "
            "webhook writes it. What its pods run is compared by digest."
        )

    @property
    def approved(self) -> bool:
        return bool(self.plan.digest) and self.spec.approve == self.plan.digest


def answer(
    seen: Situation,
    state: State,
    reason: str,
    message: str,
    *,
    phase: Phase | None = None,
    effect: CreateJob | DeleteJob | None = None,
    look_again: float | None = None,
) -> Decision:
    """The whole decision of a check."""
    verdict = Verdict(
        state,
        reason,
        message,
        phase or phase_of(seen),
        seen.pending,
        f"{_named('Contract', seen.contracts)} still to run: {message}" if seen.contracts else "",
        *_rollback_unsafe(seen),
        rewritten=seen.rewritten,
        planned=seen.memory.plan is not None,
    )
    return Decision(seen.memory, verdict, effect, look_again)


def phase_of(seen: Situation) -> Phase:
    """The step that the memory is before."""
    if seen.memory.plan is None:
        return "Planning"
    if not seen.pending:
        return "Complete"
    return "Expanding" if seen.expands else "RollingOut"


def _rollback_unsafe(seen: Situation) -> tuple[str, Literal["ContractAnnounced", "ContractApplied"]]:
    """The sentence (empty: it is safe) and the reason."""
    contracts = tuple(revision.id for revision in seen.plan.revisions if revision.kind == "contract")
    known = seen.memory.contracted
    if contracts and seen.plan.current and seen.pending and _announced(seen):
        return _announced_sentence(contracts), "ContractAnnounced"
    if known is not None and known.applied:
        text = f"{_named('Contract', known.revisions)} applied: images before can't work with the schema any more."
        return text, "ContractApplied"
    # Between two plans: what was announced last may still be.
    unplanned = known is not None and seen.memory.plan is None
    return _announced_sentence(known.revisions) if known is not None and unplanned else "", "ContractAnnounced"


def _announced(seen: Situation) -> bool:
    tried = {"announce"} & (seen.memory.done | seen.memory.attempts.keys())
    begun = any(job.active and job.purpose in ("announce", "contract") for job in seen.observed.jobs)
    return bool(tried) or begun or any(revision.announced for revision in seen.pending)


def _announced_sentence(contracts: tuple[str, ...]) -> str:
    return (
        f"{_named('Contract', contracts)} announced: pods of images before don't start any more. "
        "Setting spec.image to such an image takes the announcement back."
    )


def _named(noun: str, ids: tuple[str, ...]) -> str:
    return f"{noun} {ids[0]} is" if len(ids) == 1 else f"{noun}s {', '.join(ids)} are"
