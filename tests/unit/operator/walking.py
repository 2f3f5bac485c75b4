"""Walks a world breadth-first through every interleaving, so that the first fault found has the shortest history."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

W = TypeVar("W", bound=Hashable)


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


def walk(
    start: W,
    moves: Callable[[W], Iterable[tuple[str, W]]],
    broken: Callable[[W], str | None],
    is_end: Callable[[W], bool],
    *,
    bound: int,
) -> Explored:
    """Every state that can be reached, or the nearest fault. Raises TooManyStatesError beyond `bound` states."""
    numbers: dict[W, int] = {start: 0}
    worlds, parents, whats = [start], [-1], [""]
    before: list[list[int]] = [[]]
    ends: list[int] = []
    transitions = 0
    for number, world in enumerate(worlds):  # grows while it is walked
        if (fault := broken(world)) is not None:
            return Explored(len(worlds), transitions, len(ends), fault, _history(number, parents, whats))
        if is_end(world):
            ends.append(number)
        for what, after in moves(world):
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
