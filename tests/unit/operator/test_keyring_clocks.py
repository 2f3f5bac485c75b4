"""Clocks within an hour of the right time, set under an operator or other where the next one runs, break no token."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.clock import ServerClock
from slipway_operator.keyrings import take_in
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import Decision, Memory, Observed
from unit.operator.ring_histories import SPEC, Action, Ring
from unit.operator.test_keyring_histories import USUAL

HOUR = 3600
CLOCKS = ("turn", "turn", "turn", "move", "move")
ROTATING = (*("look",) * 24, *("load",) * 16, *("wait",) * 6, *("start",) * 2, "replace", "rotate", "rotate", *CLOCKS)
"""Many rotations, so that clocks are turned in the midst of each wait."""


class Told:
    """What an operator's process takes for the time: what its node shows, or the API server's replies."""

    def __init__(self, ring: Timed) -> None:
        node = ring.node
        self.clock = ServerClock(monotonic=lambda: ring.now - node, own=lambda: ring.now + ring.clock)

    def __call__(self, now: float) -> float:
        self.clock.heard(formatdate(int(now), usegmt=True), self.clock.began())
        return self.clock()


class Timed(Ring):
    """A ring whose operator moves from node to node, each with a clock of its own; `node`: its monotonic clock's start.

    `former`: the one before was of a release that told all times by its node's clock; `anew`: the next look knows.
    """

    def __init__(self, tell: Callable[[Timed], Callable[[float], float]]) -> None:
        self.node, self.former, self.anew = 0.0, False, False
        self._tell = tell
        self.told: Callable[[float], float] | None = None
        super().__init__(self._decided)

    def _decided(self, observed: Observed, _: float) -> Decision:
        self.told = self.told or self._tell(self)
        found = decide(replace(observed, anew=self.anew), self.told(self.now))
        self.anew = False
        return found

    def do_turn(self, tens: int) -> None:
        """Somebody sets the clock of the operator's node."""
        self.clock = (tens - 10) * HOUR / 10

    def do_move(self, tens: int) -> None:
        """The operator goes on elsewhere."""
        self.step, self.kept, self.told = None, frozenset(), None
        self.do_turn(tens)
        self.node += 977.0

    def do_upgrade(self, tens: int) -> None:
        """All that is remembered was told by a clock that was wrong, and the next operator tells it by the server's."""
        off = (tens - 10) * HOUR / 10
        self.memory = shifted(self.memory, off)
        self.do_move(tens)
        self.anew = True


def shifted(memory: Memory, off: float) -> Memory:
    def told(at: float | None) -> Any:
        return None if at is None else at + off

    keys = tuple(
        replace(
            key, created=told(key.created), since=told(key.since), confirmed=told(key.confirmed),
            retire_after=told(key.retire_after),
        )
        for key in memory.keys
    )  # fmt: skip
    return replace(memory, keys=keys)


def history(seed: int, length: int, whats: tuple[str, ...]) -> list[Action]:
    chance = random.Random(seed)  # noqa: S311 - a history, no secret
    return [(chance.choice(whats), chance.randint(0, 20)) for _ in range(length)]


def lived(actions: list[Action], tell: Callable[[Timed], Callable[[float], float]] = Told) -> list[str]:
    ring = Timed(tell)
    for action in actions:
        ring.act(action)
    ring.settle()
    return ring.faults


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_whatever_clocks_show_no_valid_token_is_refused_and_each_rotation_comes_to_its_end(
    seed: int, length: int
) -> None:
    actions = history(seed, length, (*USUAL, *CLOCKS) if seed % 2 else ROTATING)
    assert lived(actions) == [], actions


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_times_that_a_former_release_told_by_a_wrong_clock_end_no_wait(seed: int, length: int) -> None:
    actions = history(seed, length, (*ROTATING, "upgrade"))
    assert lived(actions) == [], actions


def by_the_node(ring: Timed) -> Callable[[float], float]:
    return lambda now: now + ring.clock


def test_by_the_nodes_clock_a_valid_token_is_refused() -> None:
    assert any(lived(history(seed, 200, ROTATING), by_the_node) for seed in range(60))


def test_with_a_former_releases_times_taken_as_they_are_a_valid_token_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(take_in, "_anew", lambda memory, *_: memory)
    assert any(lived(history(seed, 200, (*ROTATING, "upgrade"))) for seed in range(60))


def test_an_operator_twelve_minutes_slow_that_moves_to_a_right_node_keeps_a_key_as_long_as_its_tokens_live() -> None:
    ring = Timed(Told)
    ring.clock = -720.0
    ring.told = None
    (old,) = {pod.files.signing for pod in ring.pods}
    ring.act(("rotate", 0))
    for _ in range(60):
        ring.act(("look", 0))
        ring.act(("wait", 1))
        for number in range(3):
            ring.act(("load", number))
        if all(pod.files.signing != old for pod in ring.pods):
            break
    last = ring.issued[old]
    ring.act(("move", 10))
    while any(key.id == old for key in ring.memory.keys):
        ring.act(("look", 0))
        ring.act(("wait", 0))
    assert ring.now - last >= SPEC.token_lifetime + SPEC.leeway
    assert ring.faults == []
