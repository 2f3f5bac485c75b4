"""Whatever happens to three operators, never may two be at work at once; and somebody is again once all is well."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.cluster import ApiError
from slipway_operator.lease import Lease, LostError, Times
from unit.operator.lease_server import LeaseApi, LeaseServer

TIMES = Times(duration=15.0, deadline=10.0, retry=2.0)
PLACE = "shop", "slipway-operator"
OPERATORS = 3
WHATS = (
    *("look",) * 30, *("effect",) * 20, *("wait",) * 16, "cut", "lose", "stop", "kill", "release",
)  # fmt: skip


@dataclass
class Process:
    """`stopped`: until when nothing of it runs; its clock runs on. `effect`: when one began, and is over at last."""

    lease: Lease
    api: LeaseApi
    stopped: float = 0.0
    effect: tuple[float, float] | None = None


class World:
    def __init__(self) -> None:
        self.server = LeaseServer()
        self.made = 0
        self.processes = [self._process() for _ in range(OPERATORS)]
        self.faults: list[str] = []

    def _process(self) -> Process:
        self.made += 1
        ahead = (self.made * 977 % 7200) - 3600.0
        api = LeaseApi(self.server)
        return Process(Lease(api, *PLACE, f"process-{self.made}", TIMES, clock=lambda: self.server.now + ahead), api)

    async def act(self, what: str, number: int, amount: int) -> None:
        process = self.processes[number]
        if what == "wait":
            self.server.now += amount * 0.5
        elif what in ("cut", "lose"):
            name = "cut_off" if what == "cut" else "answers_lost"
            setattr(process.api, name, not getattr(process.api, name))
        elif what == "stop":
            process.stopped = self.server.now + amount * 2
        elif what == "kill":
            self.processes[number] = self._process()
        elif process.stopped <= self.server.now:
            await getattr(self, f"_{what}")(number)
        self._judge()

    async def _look(self, number: int) -> None:
        process = self.processes[number]
        try:
            await (process.lease.renew() if process.lease.held else process.lease.attempt())
        except LostError:
            self.processes[number] = self._process()  # it ends, and what it did with it
        except ApiError:
            return

    async def _effect(self, number: int) -> None:
        """For as long as it may take."""
        left = self.processes[number].lease.left()
        if left > 0:
            self.processes[number].effect = self.server.now, self.server.now + left

    async def _release(self, number: int) -> None:
        process = self.processes[number]
        if process.effect is not None and process.effect[1] > self.server.now:
            return  # it waits for what is under way
        with suppress(ApiError):
            await process.lease.release()
        self.processes[number] = self._process()

    def _judge(self) -> None:
        busy = [one for one in self.processes if one.effect is not None and one.effect[1] > self.server.now]
        if len(busy) > 1:
            self.faults.append(f"{len(busy)} are at work at {self.server.now}")

    async def settle(self) -> None:
        """All is well from now on: within 20 s, and the two seconds of a look, one is at work."""
        for process in self.processes:
            process.api.cut_off = process.api.answers_lost = False
            process.stopped = 0.0
        for _ in range(20):
            self.server.now += 1.0
            for number in range(OPERATORS):
                await self.act("look", number, 0)
        if not any(process.lease.left() > 0 for process in self.processes):
            self.faults.append("nobody is at work")


def lived(seed: int, length: int) -> World:
    chance = random.Random(seed)  # noqa: S311 - a history, no secret

    async def story() -> World:
        world = World()
        for _ in range(length):
            await world.act(chance.choice(WHATS), chance.randrange(OPERATORS), chance.randint(0, 20))
        await world.settle()
        return world

    return asyncio.run(story())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(50, 400))
def test_never_are_two_at_work_and_soon_one_is_again(seed: int, length: int) -> None:
    assert lived(seed, length).faults == []


def only_held(patch: pytest.MonkeyPatch) -> None:
    """Whoever had it last takes it for its own until it hears otherwise."""
    patch.setattr(Lease, "left", lambda self: 14.0 if self.held else 0.0)


def effects_of_any_length(patch: pytest.MonkeyPatch) -> None:
    real = Lease.left
    patch.setattr(Lease, "left", lambda self: 20.0 if real(self) else 0.0)


def impatient(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "_patience", lambda _: 5.0)


def by_force(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseApi, "checks_versions", False, raising=False)
    real = LeaseApi.__init__

    def careless(self: LeaseApi, server: LeaseServer) -> None:
        real(self, server)
        self.checks_versions = False

    patch.setattr(LeaseApi, "__init__", careless)


def counted_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A renewal that wasn't heard of is counted, too."""

    async def renew(self: Any) -> None:
        self._renewed_at = self._clock()
        await real(self)

    real = Lease.renew
    patch.setattr(Lease, "renew", renew)


@pytest.mark.parametrize("broken", [only_held, effects_of_any_length, impatient, by_force, counted_from_the_answer])
def test_without_a_guard_two_are_at_work(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    assert any(lived(seed, 400).faults for seed in range(60))
