"""Walks a world breadth-first through every interleaving, so that the first fault found has the shortest history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unit.operator.exploration.moves import Operator, moves
from unit.operator.exploration.world import LIVING, WANTED, Pod, Step, World, rolled_out

Invariant = Callable[[World], str | None]


@dataclass(frozen=True)
class Explored:
    """`fault`: the first broken invariant, with the history that leads to it; None if there is none."""

    states: int
    transitions: int
    ends: int
    fault: str | None = None
    history: tuple[str, ...] = ()

    def told(self) -> str:
        """The fault, and all that happened until then."""
        return f"{self.fault}, after {len(self.history)} steps ({self.states} states): {' → '.join(self.history)}"


class TooManyStatesError(Exception):
    """The bound was reached before every state was: nothing is proved."""


def beginning(left: int) -> World:
    """`helm upgrade` from release 0 to 1 has just written both the wish and the Deployment."""
    return World(1, 1, None, (Pod(0, "main"),) * WANTED, False, 0, (), 0, Step(), left)


def explore(operator: Operator, left: int, *, bound: int, only: str = "") -> Explored:
    """Every state that can be reached, or the nearest fault. Raises TooManyStatesError beyond `bound` states.

    `left`: the most disturbances; `only`: how those begin that are allowed.
    """
    start = beginning(left)
    numbers: dict[World, int] = {start: 0}
    worlds, parents, whats = [start], [-1], [""]
    before: list[list[int]] = [[]]
    ends: list[int] = []
    transitions = 0
    for number, world in enumerate(worlds):  # grows while it is walked
        if (fault := broken(world, operator)) is not None:
            return Explored(len(worlds), transitions, len(ends), fault, _history(number, parents, whats))
        if is_end(world, operator):
            ends.append(number)
        for what, after in moves(world, operator):
            if after.left < world.left and not what.startswith(only):
                continue
            transitions += 1
            known = numbers.get(after)
            if known is None:
                known = numbers[after] = len(worlds)
                worlds.append(after)
                parents.append(number)
                whats.append(what)
                before.append([])
                if known >= bound:
                    raise TooManyStatesError(f"more than {bound} states")
            before[known].append(number)
    lost = _cannot_reach(ends, before)
    if lost is not None:
        fault = "no way leads to an end from here"
        return Explored(len(worlds), transitions, len(ends), fault, _history(lost, parents, whats))
    return Explored(len(worlds), transitions, len(ends))


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


def _history(number: int, parents: list[int], whats: list[str]) -> tuple[str, ...]:
    told: list[str] = []
    while number > 0:
        told.append(whats[number])
        number = parents[number]
    return tuple(reversed(told))


def _cannot_reach(ends: list[int], before: list[list[int]]) -> int | None:
    """The first state from which no way leads to an end; None: from each there is one."""
    reached = bytearray(len(before))
    left = list(ends)
    for number in ends:
        reached[number] = 1
    while left:
        for earlier in before[left.pop()]:
            if not reached[earlier]:
                reached[earlier] = 1
                left.append(earlier)
    lost = reached.find(0)
    return None if lost < 0 else lost
