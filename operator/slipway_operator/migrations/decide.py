"""What to do next about a schema migration: a chain of small checks, of which the first that objects answers.

Read `CHECKS` from the top: it is the whole policy. Each check is a pure function of one fresh observation.
"""

from __future__ import annotations

from collections.abc import Callable

from slipway_operator.checks import first_answer
from slipway_operator.migrations.images import is_rewritten
from slipway_operator.migrations.model import Decision, DeleteJob, JobSeen, Observed, PodSeen
from slipway_operator.migrations.pods import broken_by, digest_of, has_image, listed
from slipway_operator.migrations.remember import active_jobs, is_of, remember
from slipway_operator.migrations.retries import DOING, is_hopeless, stalled_plan, start
from slipway_operator.migrations.situation import SLOW, SOON, YOUNG, Situation, State, answer
from slipway_operator.nodes import told

Check = Callable[[Situation], Decision | None]
"""An answer, or None: nothing to object."""


def decide(observed: Observed, now: float) -> Decision:
    """Total and deterministic; `now` in seconds since the epoch. It starts at most one Job, and none beside another."""
    if observed.spec_fault is not None:
        return answer(Situation(observed, observed.memory, now), "Stalled", "SpecInvalid", observed.spec_fault)
    return first_answer(CHECKS, Situation(observed, remember(observed, now), now))


def active_job(seen: Situation) -> Decision | None:
    """One Job at a time, also across wishes. A Job of an earlier wish is removed only when it never began."""
    active = active_jobs(seen.observed)
    for job in active:
        if _is_stale(seen, job):
            return _stale(seen, job)
    return _running(seen, active[0]) if active else None


def _is_stale(seen: Situation, job: JobSeen) -> bool:
    return job.plan_key != seen.memory.plan_key or not is_of(seen.memory, seen.spec)


def _stale(seen: Situation, job: JobSeen) -> Decision:
    if job.state == "starting":
        message = f"Job {job.name} was made for an earlier wish and never began; it is removed."
        return answer(seen, "Reconciling", "EarlierRunActive", message, effect=DeleteJob(job.name), look_again=SOON)
    message = f"Job {job.name} runs for an earlier wish. It is let finish; the new one is planned after it."
    return answer(seen, "Reconciling", "EarlierRunActive", message, look_again=SOON)


def _running(seen: Situation, job: JobSeen) -> Decision:
    phase, reason, sentence = DOING[job.purpose]
    if job.trouble is not None:
        state: State = "Stalled" if job.trouble.lasting else "Reconciling"
        return answer(seen, state, job.trouble.reason, job.trouble.message, phase=phase, look_again=SOON)
    if job.purpose == "plan" and is_hopeless(seen, "plan"):
        return stalled_plan(seen)
    return answer(seen, "Reconciling", reason, f"{sentence}: Job {job.name}.", phase=phase, look_again=SOON)


def held(seen: Situation) -> Decision | None:
    """The result of a Job whose own containers have ended counts, and is in the memory: what holds its pod goes."""
    job = next((job for job in seen.observed.jobs if job.held_by), None)
    if job is None:
        return None
    message = (
        f"Job {job.name} has {job.state}, and {', '.join(job.held_by)}, which isn't of its making, keeps its pod from "
        "ending: the result counts, and the Job is removed. To keep such containers out of Jobs, set the annotation "
        'that their injector asks for in spec.jobAnnotations, such as sidecar.istio.io/inject: "false".'
    )
    return answer(seen, "Reconciling", "SidecarHolds", message, effect=DeleteJob(job.name), look_again=SOON)


def suspended(seen: Situation) -> Decision | None:
    if not seen.spec.suspend:
        return None
    return answer(seen, "Suspended", "Suspended", "spec.suspend is set: nothing new is started.")


def workload(seen: Situation) -> Decision | None:
    """Jobs copy the workload's container, so there must be one. It may well come a moment after the resource."""
    deployment, spec = seen.observed.workload, seen.spec
    if deployment is None:
        message = f"There is no Deployment {spec.workload} in this namespace yet, whose container Jobs copy."
        pause = SOON if seen.now - seen.observed.created < YOUNG else SLOW
        return answer(seen, "Reconciling", "WorkloadMissing", message, look_again=pause)
    if deployment.image is None:
        message = f"Deployment {spec.workload} has no container {spec.container}: name one in spec.workload.container."
        return answer(seen, "Stalled", "ContainerMissing", message, look_again=SLOW)
    return None


def planned(seen: Situation) -> Decision | None:
    return start(seen, "plan") if seen.memory.plan is None else None


def withdrawn(seen: Situation) -> Decision | None:
    """An image that came back takes back what the one after it announced, or its own pods would never start."""
    return start(seen, "withdraw") if seen.plan.foreign and "withdraw" not in seen.memory.done else None


def nothing_pending(seen: Situation) -> Decision | None:
    if seen.pending:
        return None
    message = f"The database is at revision {seen.plan.target or 'none'}, as {seen.spec.image} wants it."
    return answer(seen, "Ready", "UpToDate", message, phase="Complete")


def linted(seen: Situation) -> Decision | None:
    """Findings stop a plan that nobody is asked about; where people approve, they are theirs to judge."""
    if seen.spec.approval != "Never" or not seen.objections:
        return None
    rules = ", ".join(sorted({finding.rule for finding in seen.objections}))
    message = (
        f"squawk objects ({rules}): see status.plan.findings. Change the revision, or add the rule to lint.ignore."
    )
    return answer(seen, "Stalled", "LintFailed", message)


def plan_approved(seen: Situation) -> Decision | None:
    """Before anything runs: every plan with Always; with Destructive one that has findings, or can't be told fully."""
    if seen.approved or seen.spec.approval == "Never" or not (seen.expands or seen.stranded):
        return None
    if seen.spec.approval == "Always" or seen.objections or seen.plan.partial:
        return answer(seen, "Reconciling", "AwaitingApproval", _wanted(seen), phase="AwaitingApproval")
    return None


def expanded(seen: Situation) -> Decision | None:
    return start(seen, "expand") if seen.expands else None


def rolled_out(seen: Situation) -> Decision | None:
    """The new release must be everywhere before what the old one needs goes. When stranded, it can't be yet."""
    deployment, spec = seen.observed.workload, seen.spec
    wished = deployment is not None and (deployment.image == spec.image or bool(seen.rewritten))
    if seen.stranded or deployment is None or (wished and deployment.rolled_out):
        return None
    message = f"Deployment {spec.workload} is still being rolled out to {spec.image}."
    if not wished:
        message = f"Deployment {spec.workload} has image {deployment.image}; contracts wait until it has {spec.image}."
    return answer(seen, "Reconciling", "RollingOut", message, phase="RollingOut", look_again=SOON)


def no_pod_broken(seen: Situation) -> Decision | None:
    """Every pod that lives counts: ready or not, terminating or not, of this Deployment or another."""
    memory = seen.memory
    broken = broken_by(memory.image_id, seen.observed.pods, memory.announced_at, seen.now)
    if not broken:
        return None
    contract, names = seen.contracts[0], listed(broken)
    if away := next((pod.lost for pod in broken if pod.lost), None):
        message = f"Contract {contract} would break {names}. {told(away)}"
        state: State = "Stalled" if away.lasting(seen.now) else "Reconciling"
        return answer(seen, state, "NodeLost", message, phase="RollingOut", look_again=SOON)
    if seen.stranded:
        message = (
            f"Contract {contract} comes before a revision that {seen.spec.image} needs, and would break {names}. "
            f"Deploy the release that ends with {contract} first, or stop these pods."
        )
        return answer(seen, "Stalled", "ReleaseSkipped", message, phase="RollingOut", look_again=SLOW)
    if other := next((found for pod in broken if (found := _other_image(seen, pod))), ""):
        message = f"Contract {contract} waits: {other}"
        return answer(seen, "Reconciling", "ImageRewritten", message, phase="RollingOut", look_again=SOON)
    message = f"Contract {contract} would break {names}; it waits until they are gone."
    return answer(seen, "Reconciling", "OldPodsRemain", message, phase="RollingOut", look_again=SOON)


def _other_image(seen: Situation, pod: PodSeen) -> str:
    """A sentence on a pod that has the wished image by its name, from elsewhere, and isn't what was planned."""
    wished, planned = seen.spec.image, seen.memory.image_id
    # By whatever digest it has itself: whether that is the planned one has been asked.
    found = [name for name in pod.images if any(is_rewritten(wished, name, each) for each in pod.image_ids)]
    if not found:
        return ""
    return (
        f"pod {pod.name} has {min(found)} in the place of {wished}, as an admission webhook writes it, and that "
        f"isn't what was planned ({digest_of(planned)}). Let it treat Jobs as it does pods, or name images by digest."
    )


def pods_were_seen(seen: Situation) -> Decision | None:
    """An empty list proves nothing: pods that were wanted and not seen are lagging, never gone."""
    wanted = seen.observed.workload.wanted if seen.observed.workload else 0
    own = sum(has_image(pod, seen.memory.image_id) for pod in seen.observed.pods)
    if own >= (min(wanted, 1) if seen.stranded else wanted):
        return None
    message = (
        f"Of {wanted} wanted pods {own} were seen with the image that was planned: spec.consumers must select every "
        "pod that uses the database."
    )
    return answer(seen, "Reconciling", "PodsNotSeen", message, phase="RollingOut", look_again=SOON)


def contract_approved(seen: Situation) -> Decision | None:
    """A contract that waits is no fault: the release works. Unless it needs what comes after the contract."""
    if seen.approved or seen.spec.approval == "Never":
        return None
    state: State = "Reconciling" if seen.stranded else "Ready"
    return answer(seen, state, "AwaitingApproval", _wanted(seen), phase="AwaitingApproval")


def backed_up(seen: Situation) -> Decision | None:
    return start(seen, "backup") if seen.spec.backup and "backup" not in seen.memory.done else None


def announced(seen: Situation) -> Decision | None:
    return start(seen, "announce") if "announce" not in seen.memory.done else None


def seen_since_announced(seen: Situation) -> Decision | None:
    """Pods of this look may have been listed before the announcement: only a look that began with it counts."""
    if knew_of_announcement(seen):
        return None
    return answer(
        seen, "Reconciling", "Announced", "Looking at every pod once more.", phase="Announcing", look_again=0.1
    )


def knew_of_announcement(seen: Situation) -> bool:
    return "announce" in seen.observed.memory.done


def _contract(seen: Situation) -> Decision:
    return start(seen, "contract")


def _wanted(seen: Situation) -> str:
    partial = " PlanPartial: some revisions read the database, so their SQL can't be told." if seen.plan.partial else ""
    return f"Waiting for approval: look at status.plan, then set spec.approve to {seen.plan.digest}.{partial}"


CHECKS: tuple[Check, ...] = (
    held,
    active_job,
    suspended,
    workload,
    planned,
    withdrawn,
    nothing_pending,
    linted,
    plan_approved,
    expanded,
    rolled_out,
    no_pod_broken,
    pods_were_seen,
    contract_approved,
    backed_up,
    announced,
    seen_since_announced,
    _contract,
)
