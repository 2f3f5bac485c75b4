"""The world of a schema migration, walked: what begins it, what must never be, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator

from unit.operator.exploration.moves import Operator, moves
from unit.operator.exploration.world import LIVING, WANTED, Pod, Step, World, rolled_out
from unit.operator.walking import Explored, walk


def beginning(left: int) -> World:
    """`helm upgrade` from release 0 to 1 has just written both the wish and the Deployment."""
    return World(1, 1, None, (Pod(0, "main"),) * WANTED, False, 0, (), 0, Step(), left)


def explore(operator: Operator, left: int, *, bound: int, only: str = "") -> Explored:
    """Every state that can be reached, or the nearest fault. Raises TooManyStatesError beyond `bound` states.

    `left`: the most disturbances; `only`: how those begin that are allowed.
    """

    def allowed(world: World) -> Iterator[tuple[str, World]]:
        for what, after in moves(world, operator):
            if after.left == world.left or what.startswith(only):
                yield what, after

    return walk(
        beginning(left),
        allowed,
        lambda world: broken(world, operator),
        lambda world: is_end(world, operator),
        bound=bound,
    )


def broken(world: World, operator: Operator) -> str | None:
    """What must never be."""
    step, active = world.step, [job for job in world.jobs if job.active]
    contracting = any(job.purpose == "contract" for job in active)
    gone = contracting or world.c2 == 2
    begun = step.at == "decided" and step.effect is not None and step.effect[2:3] == ("contract",)
    faults = {
        "two Jobs are active": len(active) > 1,
        "the contract runs, or ran, and a pod of release 0 lives": gone
        and any(pod.image == 0 and pod.stage in LIVING for pod in world.pods),
        "the contract runs, or ran, and nobody approved it": gone
        and operator.approval != "Never"
        and world.approve is None,
        "the contract is begun before the rollout is complete": begun and not step.rolled_out,
        "the contract runs and isn't announced": contracting and world.c2 == 0,
        "the ledger has the contract without the expand before it": world.c2 > 0 and not world.e1,
    }
    return next((fault for fault, found in faults.items() if found), None)


def is_end(world: World, operator: Operator) -> bool:
    """All is done for this wish, as a fresh look confirms."""
    if world.step.at != "idle" or any(job.active for job in world.jobs):
        return False
    memory, effect, decision = operator.look(world, world.pods)
    if effect is not None or memory != world.memory or decision.verdict.reason != "UpToDate":
        return False
    too_late = world.wish == 0 and world.c2 == 2  # back after the contract: its pods are refused for good
    return too_late or rolled_out(world)
