"""Everything that can happen next in a world, also between two writes of the operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from slipway_operator.migrations.model import Approval, CreateJob, Decision, DeleteJob, Memory
from unit.operator.exploration.world import (
    ANNOUNCED,
    LATER,
    MOST_PODS,
    Job,
    Pod,
    Step,
    World,
    image_of,
    observe,
    rolled_out,
)

Move = tuple[str, World]
"""What happened, in words, and the world after it."""


@dataclass
class Operator:
    """The real `decide` in the world; memories are numbered so that worlds compare fast."""

    decide: Callable[..., Decision]
    approval: Approval = "Never"
    backup: str | None = None
    memories: list[Memory] = field(default_factory=lambda: [Memory()])
    _numbers: dict[str, int] = field(default_factory=lambda: {repr(Memory()): 0})
    _decided: dict[tuple[object, ...], tuple[int, tuple[str, ...] | None, Decision]] = field(default_factory=dict)

    def look(self, world: World, pods: tuple[Pod, ...]) -> tuple[int, tuple[str, ...] | None, Decision]:
        """What it decides: number of the memory, the effect, and all of it."""
        seen = (world.wish, world.template, rolled_out(world), world.approve, pods, world.jobs, world.memory)
        if (known := self._decided.get(seen)) is not None:
            return known
        memory = self.memories[world.memory]
        now = ANNOUNCED if memory.announced_at is None else LATER
        decision = self.decide(observe(world, pods, memory, self.approval, self.backup), now)
        self._decided[seen] = found = (self._number(decision.memory), _effect(decision), decision)
        return found

    def announced(self, number: int) -> bool:
        return self.memories[number].announced_at is not None

    def plan_digest(self, world: World) -> str | None:
        plan = self.memories[world.memory].plan
        return plan.digest if plan else None

    def _number(self, memory: Memory) -> int:
        memory = replace(memory, attempts=dict(sorted(memory.attempts.items())), done=frozenset(memory.done))
        text = f"{sorted(memory.done)} {replace(memory, done=frozenset())!r}"
        if text not in self._numbers:
            self._numbers[text] = len(self.memories)
            self.memories.append(memory)
        return self._numbers[text]


def _effect(decision: Decision) -> tuple[str, ...] | None:
    match decision.effect:
        case CreateJob(purpose, attempt):
            return ("create", decision.memory.plan_key, purpose, str(attempt))
        case DeleteJob(name):
            return ("delete", name)
    return None


def moves(world: World, operator: Operator) -> Iterator[Move]:
    yield from _operator_moves(world, operator)
    disturbed, left = world.left > 0, world.left
    for what, jobs, (e1, c2), cost in job_moves(world.jobs, (world.e1, world.c2), disturbed=disturbed):
        yield what, world._replace(jobs=jobs, e1=e1, c2=c2, left=left - cost)
    announced = operator.announced(world.memory) or (
        world.step.at == "decided" and operator.announced(world.step.memory)
    )
    for what, pods in gate_moves(world.pods, e1=world.e1, held=world.c2 > 0, announced=announced):
        yield what, world._replace(pods=pods)
    for what, pods, cost in controller_moves(world.pods, world.template, disturbed=disturbed):
        yield what, world._replace(pods=pods, left=left - cost)
    yield from _people_moves(world, operator)


def _operator_moves(world: World, operator: Operator) -> Iterator[Move]:
    step, left = world.step, world.left
    if step.at == "idle":
        memory, effect, _ = operator.look(world, world.pods)
        yield "operator lists the pods", world._replace(step=Step("listed", world.pods))
        if left:
            yield "operator is given an empty list of pods", world._replace(step=Step("listed"), left=left - 1)
    elif step.at == "listed":
        memory, effect, decision = operator.look(world, step.pods)
        if effect is None and memory == world.memory:
            yield f"operator reads the rest and decides: {decision.verdict.reason}", world._replace(step=Step())
            return
        pods = world.pods
        if operator.announced(memory) and not operator.announced(world.memory):
            pods = tuple(sorted(pod._replace(late=False) for pod in pods))
        complete = effect is not None and effect[0] == "create" and rolled_out(world)
        decided = world._replace(pods=pods, step=Step("decided", (), memory, effect, True, complete))
        yield f"operator reads the rest and decides: {decision.verdict.reason}", decided
    elif step.at == "decided":
        if not step.fresh:
            yield "operator's write meets a conflict", world._replace(step=Step())
        else:
            after = Step("written", (), 0, step.effect) if step.effect else Step()
            yield "operator writes the status", world._replace(memory=step.memory, step=after)
    elif step.effect is not None:
        yield f"operator {' '.join(step.effect)}", _act(world, step.effect)._replace(step=Step())
    if step.at in ("decided", "written") and left:
        yield "operator crashes", world._replace(step=Step(), left=left - 1)


def _act(world: World, effect: tuple[str, ...]) -> World:
    if effect[0] == "delete":
        kept = tuple(job for job in world.jobs if f"{job.key}-{job.purpose}-{job.attempt}" != effect[1])
        return world._replace(jobs=kept)
    _, key, purpose, attempt = effect
    if any((job.key, job.purpose, job.attempt) == (key, purpose, int(attempt)) for job in world.jobs):
        return world  # adopted: it is there already
    return world._replace(jobs=tuple(sorted((*world.jobs, Job(key, purpose, int(attempt))))))  # type: ignore[arg-type]


@cache
def job_moves(
    jobs: tuple[Job, ...], database: tuple[bool, int], *, disturbed: bool
) -> tuple[tuple[str, tuple[Job, ...], tuple[bool, int], int], ...]:
    """What Jobs may do next: the Jobs and the database (e1, c2) after it, and whether it is a disturbance."""
    found: list[tuple[str, tuple[Job, ...], tuple[bool, int], int]] = []
    for index, job in enumerate(jobs):

        def changed(to: Job, index: int = index) -> tuple[Job, ...]:
            return (*jobs[:index], to, *jobs[index + 1 :])

        name = f"Job {job.purpose}"
        if job.state == "starting":
            found.append((f"{name} starts", changed(job._replace(state="running")), database, 0))
        elif job.state == "running":
            committed = job._replace(state="committed", found=database if job.purpose == "plan" else None)
            found.append((f"{name} commits", changed(committed), _commit(job, database), 0))
        elif job.state == "committed":
            found.append((f"{name} succeeds", changed(job._replace(state="succeeded")), database, 0))
        if job.state in ("running", "committed") and disturbed:
            found.append((f"{name} fails", changed(job._replace(state="failed", found=None)), database, 1))
    return tuple(found)


def _commit(job: Job, database: tuple[bool, int]) -> tuple[bool, int]:
    """What a Job does to the database (e1, c2)."""
    e1, c2 = database
    match job.purpose, image_of(job.key):
        case "expand", 1:
            return True, c2
        case "announce", 1:
            return e1, max(c2, 1)
        case "contract", 1:
            return True, 2
        case "withdraw", 0:
            return e1, 0 if c2 == 1 else c2
    return e1, c2


@cache
def gate_moves(
    pods: tuple[Pod, ...], *, e1: bool, held: bool, announced: bool
) -> tuple[tuple[str, tuple[Pod, ...]], ...]:
    """Gates read the ledger at one moment and start the main container at another. `held`: c2 is in the ledger."""
    found: list[tuple[str, tuple[Pod, ...]]] = []
    for pod in sorted(set(pods)):
        name = f"pod of release {pod.image}"
        if pod.stage == "waiting":
            begun = pod._replace(stage="gate", late=announced and pod.image == 0)
            found.append((f"{name} starts its gate", _with(pods, pod, begun)))
        elif pod.stage == "gate" and pod.image == 0 and held:
            found.append((f"{name} is refused", _with(pods, pod, Pod(0, "waiting"))))
        elif pod.stage == "gate" and (pod.image == 0 or e1):
            found.append((f"{name} reads that it may start", _with(pods, pod, pod._replace(stage="passing"))))
        elif pod.stage == "passing":
            found.append((f"{name} starts", _with(pods, pod, Pod(pod.image, "main"))))
        elif pod.stage == "ending":
            found.append((f"{name} ends", _with(pods, pod)))
    return tuple(found)


@cache
def controller_moves(
    pods: tuple[Pod, ...], template: int, *, disturbed: bool
) -> tuple[tuple[str, tuple[Pod, ...], int], ...]:
    """A rolling update without surge, and evictions, which are disturbances; ReplicaSets make pods anew at once."""
    counted = sorted({pod for pod in pods if pod.stage != "ending"})
    room = len(pods) < MOST_PODS
    others = [pod for pod in counted if pod.image != template]
    unready = [pod for pod in others if pod.stage != "main"]
    available = all(pod.stage == "main" for pod in counted)
    found = [
        (f"pod of release {pod.image} is replaced", _end(pods, pod, template), 0)
        for pod in unready or (others if available and room else [])
    ]
    if disturbed and room:
        evicted = [pod for pod in counted if pod == Pod(0, "main")]
        found += [("pod of release 0 is evicted and comes back", _end(pods, pod, 0), 1) for pod in evicted]
    return tuple(found)


def _with(pods: tuple[Pod, ...], old: Pod, *new: Pod) -> tuple[Pod, ...]:
    left = list(pods)
    left.remove(old)
    return tuple(sorted((*left, *new)))


def _end(pods: tuple[Pod, ...], pod: Pod, successor: int) -> tuple[Pod, ...]:
    gone = (pod._replace(stage="ending"),) if pod.stage == "main" else ()
    return _with(pods, pod, *gone, Pod(successor, "waiting"))


def _people_moves(world: World, operator: Operator) -> Iterator[Move]:
    left = world.left
    touched = world.step._replace(fresh=False) if world.step.at == "decided" else world.step
    if left:
        other = 1 - world.wish
        changed = world._replace(wish=other, template=other, step=touched)
        yield f"helm: release {other}", changed._replace(left=left - 1)
    if left and world.template == world.wish:
        undone = world._replace(template=1 - world.wish)
        yield "rollout undo", undone._replace(left=left - 1)
    if world.template != world.wish:
        yield "the Deployment is set to the wish again", world._replace(template=world.wish)
    digest = operator.plan_digest(world)
    if operator.approval != "Never" and digest is not None and world.approve != digest:
        yield "a person approves", world._replace(approve=digest, step=touched)
