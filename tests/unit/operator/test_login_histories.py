"""Properties of deciding on logins: over random histories, and over observations that make no sense at all."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.logins import decide as decisions
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import (
    Cause,
    DatabaseSeen,
    Decision,
    HandOver,
    Memory,
    Observed,
    PrepareRoles,
    RoleSeen,
    Scramble,
    SecretSeen,
    Session,
    Spec,
    Trouble,
)
from slipway_operator.logins.take_in import Situation, situation
from slipway_operator.rotations import Rotation
from unit.operator.exploration_logins import world as worlds
from unit.operator.exploration_logins.explorer import at_work, beginning, broken, is_end
from unit.operator.exploration_logins.moves import moves
from unit.operator.exploration_logins.world import World

NOW = 1_000_000.0
LONGEST = 2_000
"""Steps within which a history without further disturbances must have ended."""


def history(seed: int, disturbances: int, length: int, pods: int = 3) -> str | None:
    """What went wrong in one random history; None: nothing, and it came to its end."""
    chance = random.Random(seed)  # noqa: S311 - a history, no secret
    world = beginning(disturbances)
    world = world._replace(pods=world.pods[:1] * pods)
    for step in range(length + LONGEST):
        if step == length:
            world = world._replace(left=0)
        if not world.left and is_end(world):
            return None
        _, world = next_move(world, chance)
        if (fault := broken(world)) is not None:
            return fault
    return f"no end within {LONGEST} steps: {world}"


def next_move(world: World, chance: random.Random) -> tuple[str, World]:
    return chance.choice(list(moves(world)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(0, 300))
def test_in_no_history_a_pod_is_locked_out_and_each_ends_with_one_working_role(
    seed: int, disturbances: int, length: int
) -> None:
    assert history(seed, disturbances, length) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_with_nothing_seen_that_refers_to_the_secret_no_password_changes_in_any_history(seed: int, length: int) -> None:
    assert blind_history(seed, length) is None


def test_such_a_history_shows_when_nothing_seen_is_taken_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def anything(seen: Observed, now: float) -> Decision:
        return decide(replace(seen, consumers=replace(seen.consumers, refers=True)), now)

    monkeypatch.setattr(worlds, "decide", anything)
    found = {blind_history(seed, 100) for seed in range(20)}
    assert any(isinstance(each, HandOver) for each in found)


def blind_history(seed: int, length: int) -> object:
    """The first effect on a password that was decided upon, of pods that nothing shows; None: there was none."""
    chance, real = random.Random(seed), worlds.observed  # noqa: S311 - a history, no secret
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "observed", lambda world, **_: real(world, blind=True))
        world = at_work(12, pods=2)
        for _ in range(length):
            if not list(moves(world)):
                break  # nothing is left that could happen
            _, world = next_move(world, chance)
            if isinstance(world.step.effect, HandOver | Scramble):
                return world.step.effect
    return None


def test_such_a_history_shows_when_sessions_are_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_seen: Situation, *_roles: str) -> tuple[()]:
        return ()

    monkeypatch.setattr(Situation, "sessions", none)
    assert any("changed while a pod uses it" in (history(seed, 12, 300) or "") for seed in range(200))


def test_such_a_history_shows_when_the_other_role_keeps_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    left = tuple(check for check in decisions.CHECKS if check is not decisions.scrambled)
    monkeypatch.setattr(decisions, "CHECKS", left)
    assert "no end within" in (history(0, 0, 0) or "")


roles = st.sampled_from(["", "a", "b", "foreign"])
own = st.sampled_from(["a", "b"])
nonces = st.sampled_from(["", "1", "2"])
causes = st.sampled_from(cast("list[Cause]", ["Schedule", "Nonce", "Created", "Healed"]))
times = st.floats(0, 2 * NOW)
rotations: Any = st.builds(
    Rotation, own, times, causes, roles, st.none() | times, st.sampled_from([None, "Confirmed", "Superseded"])
)
reports: Any = st.builds(
    Report,
    st.sampled_from(["p", "q", "r"]),
    st.sampled_from(["", "", "TimedOut"]),
    database_role=roles,
    starting=st.booleans(),
)
databases = st.builds(
    DatabaseSeen,
    st.tuples(
        st.builds(RoleSeen, st.just("a"), st.booleans(), st.booleans()),
        st.builds(RoleSeen, st.just("b"), st.booleans(), st.booleans()),
    ),
    st.lists(st.builds(Session, st.integers(1, 9), own, started=st.none() | times), max_size=3).map(tuple),
    st.none() | st.booleans(),
)
troubles = st.builds(Trouble, st.just("DatabaseUnreachable"), st.just("Text."), st.booleans())
secrets = st.builds(
    SecretSeen, roles, st.booleans(), st.booleans(), st.booleans(), st.booleans(), cause=causes, nonce=nonces
)
observations = st.builds(
    Observed,
    name=st.just("login"),
    spec=st.builds(
        Spec,
        admin_secret=st.just("admin"),
        member_of=st.just("app"),
        roles=st.just(("a", "b")),
        secret_name=st.just("login"),
        endpoint=st.just(Endpoint("app=app")),
        rotate_every=st.floats(300, NOW),
        nonce=nonces,
        history_limit=st.integers(0, 3),
        suspend=st.booleans(),
    ),
    memory=st.builds(
        Memory,
        role=st.sampled_from(["", "a", "b", "gone"]),
        role_since=st.none() | times,
        handled_nonce=nonces,
        scrambled=st.frozensets(own),
        history=st.lists(rotations, max_size=3).map(tuple),
    ),
    secret=st.none() | secrets,
    consumers=st.builds(Consumers, st.lists(reports, max_size=3).map(tuple), st.integers(0, 3), st.booleans()),
    database=st.none() | databases,
    trouble=st.none() | troubles,
    migrating=st.sampled_from(["", "", "job"]),
    scrambled=st.frozensets(own),
    spec_fault=st.none() | st.just("Text."),
)


@settings(max_examples=1_000, deadline=None)
@given(observations)
def test_whatever_is_observed_the_evidence_for_what_is_done_is_in_that_very_look(seen: Observed) -> None:
    decision = decide_twice(seen)
    effect = decision.effect
    assert decision.verdict.reason
    lagging = [one.pod for one in decision.verdict.lagging]
    assert len(set(lagging)) == len(lagging) <= decision.verdict.running - decision.verdict.confirmed
    if effect is None:
        return
    assert decision.look_again == 0.0
    assert seen.spec_fault is None
    assert not seen.spec.suspend
    assert not seen.migrating
    assert seen.trouble is None
    assert seen.database is not None
    assert seen.secret is None or seen.secret.ours or seen.secret.offered
    if isinstance(effect, PrepareRoles):
        assert set(effect.roles) == {role.name for role in seen.database.roles if not (role.exists and role.fit)}
        return
    assert isinstance(effect, HandOver | Scramble)
    assert all(role.exists and role.fit for role in seen.database.roles)
    assert effect.role not in {session.role for session in seen.database.sessions}
    heard = [report for report in seen.consumers.reports if not report.fault]
    assert effect.role not in {report.database_role for report in heard}
    assert all(report.starting for report in seen.consumers.reports if report.fault)
    assert effect.role not in decision.memory.scrambled
    known = situation(seen, NOW).memory
    assert seen.consumers.refers or (effect.role in known.scrambled and not known.role)
    if isinstance(effect, Scramble) or effect.cause in ("Schedule", "Nonce"):
        assert len(heard) == len(seen.consumers.reports)
        assert not seen.consumers.wanted
        assert seen.consumers.refers
        assert {report.database_role for report in heard} <= {decision.memory.role}
        assert seen.secret is not None
        assert seen.secret.intact
        assert seen.secret.role == decision.memory.role != effect.role


def decide_twice(observed: Observed) -> Decision:
    """The same observation gives the same decision, and with its memory written there is nothing more to take in."""
    decision = decide(observed, NOW)
    assert decide(observed, NOW) == decision
    # What this process did is told once: it is in the memory then. Only of a role that is about to get a login is it
    # said already that somebody knows its password; should that come to nothing, pods that start are waited for.
    effect, known = decision.effect, situation(observed, NOW).memory.scrambled
    unsaid = known & {effect.role} if isinstance(effect, HandOver) else frozenset[str]()
    assert decide(replace(observed, memory=decision.memory, scrambled=unsaid), NOW) == decision
    return decision


def test_after_a_hand_over_that_came_to_nothing_pods_that_start_are_waited_for() -> None:
    """Its login may be in the Secret that one of them has loaded: nothing tells that the operator was killed before."""
    fit = tuple(RoleSeen(role, exists=True, fit=True) for role in ("a", "b"))
    spec = Spec("admin", "app", ("a", "b"), "login", Endpoint("app=app"), 3600.0)
    silent = Consumers((Report("p", "TimedOut", starting=True),), refers=True)
    seen = Observed("login", spec, Memory(scrambled=frozenset({"a"})), None, silent, DatabaseSeen(fit))
    decision = decide_twice(seen)
    assert decision.effect == HandOver("a", "Created", "")
    after = decide(replace(seen, memory=decision.memory), NOW)
    assert (after.verdict.reason, after.effect) == ("ConsumersLagging", None)
