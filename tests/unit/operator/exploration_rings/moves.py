"""What may happen next in the world of a key ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from slipway_operator.keyrings.model import Decision, Observed, WriteSecret
from unit.operator.exploration_rings.world import (
    CACHE,
    FAR,
    LIFETIME,
    NOW,
    PROPAGATION,
    Files,
    Pod,
    Sight,
    Step,
    World,
    aged,
    observed,
)

Decide = Callable[[Observed, float], Decision]
Move = tuple[str, World]


def moves(world: World, decide: Decide) -> Iterator[Move]:
    for what, after in (*_operator(world, decide), *_pods(world), *_tick(world), *_disturbances(world, decide)):
        yield what, _marked(after)


def looked(world: World, decide: Decide, sight: Sight = "all") -> Step:
    decision = decide(observed(world, sight), NOW)
    return Step("decided", aged(decision.memory, 0), decision.effect, world.secret, decision.verdict.reason)


def _operator(world: World, decide: Decide) -> Iterator[Move]:
    step = world.step
    if step.at == "idle":
        after = looked(world, decide)
        whole = world.secret is not None and world.secret.ours
        kept = world.secret.keys if world.secret is not None and whole else world.kept
        if after.effect is not None or after.memory != world.memory:
            yield f"operator looks: {after.reason}", world._replace(step=after, kept=kept)
    elif step.at == "decided" and step.memory is not None:
        told = Step() if step.effect is None else step._replace(at="told", memory=None)
        yield "operator writes the status", world._replace(memory=step.memory, step=told)
    elif step.effect is not None:
        if world.secret != step.version:
            yield "operator finds another Secret", world._replace(step=Step())
        else:
            yield "operator writes the Secret", _written(world, step.effect)


def _written(world: World, effect: WriteSecret) -> World:
    made = [f"k{world.made + number}" for number in range(effect.fresh)]
    signing = effect.signing or made[0]
    keys = frozenset((*effect.keep, *made))
    free = world.free | {signing} if effect.cause == "Revoke" else world.free
    files = Files(keys, signing, effect.cause, effect.nonce)
    return world._replace(secret=files, made=world.made + effect.fresh, free=free, kept=keys, step=Step())


def _pods(world: World) -> Iterator[Move]:
    loaded = _loadable(world)
    for number, pod in _different(world):
        if pod.stage == "mounted":
            yield f"pod {number} starts", _with(world, number, pod._replace(stage="runs", age=0))
        if loaded is not None and pod.files != loaded:
            yield f"pod {number} loads", _with(world, number, pod._replace(files=loaded, age=0))


def _different(world: World) -> Iterator[tuple[int, Pod]]:
    """One of those that are alike: what it does, the others might have done."""
    return ((number, pod) for number, pod in enumerate(world.pods) if pod not in world.pods[:number])


def _loadable(world: World) -> Files | None:
    """A set that holds nothing is refused by the service, or it was deleted: files stay as they are."""
    return world.secret if world.secret is not None and world.secret.keys else None


def _with(world: World, number: int, pod: Pod) -> World:
    return world._replace(pods=(*world.pods[:number], pod, *world.pods[number + 1 :]))


def _tick(world: World) -> Iterator[Move]:
    loaded = _loadable(world)
    pods = []
    for pod in world.pods:
        old = pod.stage == "mounted" and loaded is not None and pod.files != loaded
        if old and pod.age + 1 > PROPAGATION:
            pods.append(pod._replace(files=loaded or pod.files, age=0))
        else:
            pods.append(pod._replace(age=pod.age + 1) if old else pod)
    issued = tuple((key, age + 1) for key, age in world.issued if age + 1 < LIFETIME)
    lacked = tuple((key, age + 1) for key, age in world.lacked if age + 1 < CACHE)
    step = world.step
    memory = None if step.memory is None else aged(step.memory, 1)
    after = world._replace(
        memory=aged(world.memory, 1),
        pods=tuple(pods),
        issued=issued,
        lacked=lacked,
        step=step._replace(memory=memory),
    )
    if after != world:
        yield "time passes", after


def _disturbances(world: World, decide: Decide) -> Iterator[Move]:
    if not world.left:
        return
    after = world._replace(left=world.left - 1)
    yield "operator is killed", after._replace(step=Step(), kept=frozenset())
    if world.step.at == "idle":
        yield "operator is shown no pods", after._replace(step=looked(world, decide, "no pods"))
        yield "operator is shown nothing that refers", after._replace(step=looked(world, decide, "nothing"))
    loaded = _loadable(world)
    if loaded is not None:
        for number, _ in _different(world):
            yield "a pod is replaced", _with(after, number, Pod("mounted", loaded))
    if world.nonce == "before":
        yield "a rotation is asked for", after._replace(nonce="after")
    if not world.revoke and world.secret is not None:
        for key in sorted({world.secret.signing} | {key.id for key in world.memory.keys if key.stage == "Signing"}):
            yield "a key that signs is revoked", after._replace(revoke=frozenset({key}))
    if world.secret is not None:
        for key in _known_to_all(world, world.secret):
            yield "a hand lets another sign", after._replace(secret=world.secret._replace(signing=key, ours=False))
        yield "the Secret is deleted", after._replace(secret=None)
        yield "the Secret is edited", after._replace(secret=world.secret._replace(keys=frozenset(), ours=False))


def _known_to_all(world: World, secret: Files) -> list[str]:
    """Keys that may sign: whoever lets another sign, by hand, owes that to tokens as the operator does."""
    known = secret.keys.intersection(*(pod.files.keys for pod in world.pods))
    return sorted(known - {secret.signing} - {key for key, _ in world.lacked} - world.revoke)


def _marked(world: World) -> World:
    """Each pod makes tokens all the time, and validators fetch from each all the time: the worst that may be."""
    issued, lacked = dict(world.issued), dict(world.lacked)
    running = [pod.files for pod in world.pods if pod.stage == "runs"]
    known = {key for files in running for key in files.keys} | (world.secret.keys if world.secret else frozenset())
    for files in running:
        issued[files.signing] = 0
        for key in known - files.keys:
            lacked[key] = 0
    bound = int(FAR)
    return world._replace(
        pods=tuple(sorted(world.pods, key=_order)),
        issued=tuple(sorted((key, min(age, bound)) for key, age in issued.items())),
        lacked=tuple(sorted((key, min(age, bound)) for key, age in lacked.items())),
    )


@cache
def _order(pod: Pod) -> tuple[object, ...]:
    """Which of them is which matters to nobody, so worlds that differ by that alone are one."""
    files = pod.files
    return pod.stage, pod.age, sorted(files.keys), files.signing, files.cause, files.nonce, files.ours
