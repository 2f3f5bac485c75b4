"""What the walk finds once a guard of `decide` is broken: the shortest history that shows what the guard is for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from slipway_operator.evidence.consumers import Following
from slipway_operator.logins import decide as decisions
from slipway_operator.logins import steps, take_in
from slipway_operator.logins.model import Decision, Effect, Memory, Observed, RoleSeen
from slipway_operator.logins.take_in import Situation
from unit.operator.exploration_logins import world as world_of_logins
from unit.operator.exploration_logins.explorer import at_work, beginning, explore
from unit.operator.exploration_logins.world import World

Break = Callable[[pytest.MonkeyPatch], None]

BOUND = 300_000
LOCKED_OUT = "changed while a pod uses it"
NO_WAY = "no way leads to an end"


def without(check: decisions.Check) -> Break:
    """Take a check out of the chain."""
    left = tuple(each for each in decisions.CHECKS if each is not check)
    assert len(left) == len(decisions.CHECKS) - 1

    def take_out(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(decisions, "CHECKS", left)

    take_out.__qualname__ = f"without {getattr(check, '__name__', '')}"
    return take_out


def overlook_sessions(patch: pytest.MonkeyPatch) -> None:
    def none(_seen: Situation, *_roles: str) -> tuple[()]:
        return ()

    patch.setattr(Situation, "sessions", none)


def take_every_pod_for_following(patch: pytest.MonkeyPatch) -> None:
    def all_do(_: Situation) -> Following:
        return Following()

    patch.setattr(Situation, "follows", all_do)


def take_what_cannot_be_asked_for_following(patch: pytest.MonkeyPatch) -> None:
    asked = Situation.follows

    def those_that_answer(seen: Situation) -> Following:
        return replace(asked(seen), unheard=(), starting=())

    patch.setattr(Situation, "follows", those_that_answer)


def take_nothing_seen_for_all(patch: pytest.MonkeyPatch) -> None:
    def anything(observed: Observed, now: float) -> Decision:
        return real(replace(observed, consumers=replace(observed.consumers, refers=True)), now)

    real = decisions.decide
    patch.setattr(world_of_logins, "decide", anything)


def heal_whoever_uses_the_role(patch: pytest.MonkeyPatch) -> None:
    def nobody(_seen: Situation, _role: str) -> Following:
        return Following()

    patch.setattr(Situation, "users", nobody)


def heal_with_the_role_that_a_person_put_there(patch: pytest.MonkeyPatch) -> None:
    def both(seen: Situation) -> tuple[str, ...]:
        return tuple(sorted(seen.spec.roles, key=lambda role: role == seen.memory.role))

    patch.setattr(Situation, "candidates", both)


def believe_every_secret(patch: pytest.MonkeyPatch) -> None:
    def believed(observed: Observed, _: Memory) -> bool:
        return observed.secret is not None

    patch.setattr(take_in, "_taken", believed)


def never_try_the_login(patch: pytest.MonkeyPatch) -> None:
    def whole(observed: Observed, _: Memory) -> bool:
        return observed.secret is not None and observed.secret.intact

    patch.setattr(take_in, "_taken", whole)


def act_while_a_migration_runs(patch: pytest.MonkeyPatch) -> None:
    def at_once(seen: Situation, reason: str, message: str, effect: Effect) -> Decision:
        free = replace(seen, observed=replace(seen.observed, migrating=""))
        return steps.act(free, reason, message, effect)

    patch.setattr(decisions, "act", at_once)


def say_only_afterwards_who_takes_over(patch: pytest.MonkeyPatch) -> None:
    def unsaid(seen: Situation, reason: str, message: str, effect: Effect) -> Decision:
        return replace(steps.act(seen, reason, message, effect), memory=seen.memory)

    patch.setattr(decisions, "act", unsaid)


def hold_scrambled_for_good(patch: pytest.MonkeyPatch) -> None:
    def forever(memory: Memory, observed: Observed) -> frozenset[str]:
        return memory.scrambled | observed.scrambled

    patch.setattr(take_in, "_scrambled", forever)


def overlook_dropped_roles(patch: pytest.MonkeyPatch) -> None:
    def none(_: Situation) -> tuple[RoleSeen, ...]:
        return ()

    patch.setattr(Situation, "unfit", none)


CONTROLS: list[tuple[Break, World, str]] = [
    (overlook_sessions, at_work(1, pods=1), LOCKED_OUT),
    (take_every_pod_for_following, at_work(1, pods=1), LOCKED_OUT),
    (take_what_cannot_be_asked_for_following, at_work(2, pods=1), LOCKED_OUT),
    (take_nothing_seen_for_all, at_work(2, pods=1), LOCKED_OUT),
    (heal_whoever_uses_the_role, at_work(2, pods=1), LOCKED_OUT),
    (heal_with_the_role_that_a_person_put_there, at_work(1, pods=1), LOCKED_OUT),
    (believe_every_secret, at_work(1, pods=1), NO_WAY),
    (never_try_the_login, at_work(2, pods=1), NO_WAY),
    (act_while_a_migration_runs, at_work(2, pods=1), "an effect was decided upon while a migration runs"),
    (say_only_afterwards_who_takes_over, at_work(1, pods=1), "is noted as nobody's"),
    (hold_scrambled_for_good, at_work(2, pods=1), NO_WAY),
    (overlook_dropped_roles, at_work(1, pods=1), NO_WAY),
    (without(decisions.reachable), at_work(2, pods=1), LOCKED_OUT),
    (without(decisions.prepared), beginning(0), NO_WAY),
    (without(decisions.sound), beginning(0), NO_WAY),
    (without(decisions.followed), at_work(2, pods=1), LOCKED_OUT),
    (without(decisions.scrambled), at_work(1, pods=1), NO_WAY),
    (without(decisions.rotated), at_work(1, pods=1), NO_WAY),
]


@pytest.mark.parametrize(("break_guard", "start", "expected"), CONTROLS)
def test_a_broken_guard_is_found(
    break_guard: Break,
    start: World,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    break_guard(monkeypatch)
    found = explore(start, bound=BOUND)
    with capsys.disabled():
        print(f"\nlogins, {break_guard.__qualname__}: {found.told()}", file=sys.stderr)  # noqa: T201
    assert expected in (found.fault or "")


@pytest.mark.parametrize("start", [beginning(0), at_work(2, pods=1)])
def test_with_every_guard_in_place_the_same_walks_find_nothing(start: World) -> None:
    assert explore(start, bound=BOUND).fault is None
