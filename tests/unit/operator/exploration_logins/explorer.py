"""The world of a database login, walked: what must never be, and what ends it."""

from __future__ import annotations

from slipway_operator.logins.model import Decision, HandOver
from unit.operator.exploration_logins.moves import moves
from unit.operator.exploration_logins.world import ROLES, Kept, Login, Pod, World, look
from unit.operator.walking import Explored, walk


def beginning(left: int) -> World:
    """Nothing is there but the wish."""
    return World(left=left)


def at_work(left: int, pods: int) -> World:
    """Every pod logs in as `a`, and nobody can as `b`."""
    login = Login("a", 1, written=True)
    pod = Pod("running", ("a", 1), frozenset({"a"}))
    return World((1, 0), login, None, (pod,) * pods, Kept("a", scrambled=frozenset({"b"})), left=left)


def explore(start: World, *, bound: int) -> Explored:
    """Every state that can be reached, or the nearest fault. Raises TooManyStatesError beyond `bound` states."""

    return walk(start, moves, broken, is_end, bound=bound)


def broken(world: World) -> str | None:
    """What must never be."""
    if world.fault:
        return world.fault
    if world.secret is not None and not world.meddled and not world.works:
        return "the Secret holds a password that its role doesn't have"
    effect = world.step.effect
    if world.step.at == "between" and isinstance(effect, HandOver) and effect.role in world.kept.scrambled:
        return "a role has a password that somebody may know, and is noted as nobody's"
    return None


def is_end(world: World) -> bool:
    """At rest: nothing is to be done, every pod uses the role in the Secret, and nobody can log in with the other."""
    if world.step.at != "idle" or world.away or world.migrates or world.secret is None:
        return False
    after, decision = look(world)
    return after == world and at_rest(world, decision)


def at_rest(world: World, decision: Decision) -> bool:
    secret = world.secret
    if secret is None or decision.effect is not None or decision.verdict.reason != "Stable":
        return False
    (other,) = (role for role in ROLES if role != secret.role)
    followed = all(pod.stage == "running" and pod.holds == (secret.role, secret.password) for pod in world.pods)
    return followed and world.works and world.password(other) == 0 and world.kept.nonce == world.nonce
