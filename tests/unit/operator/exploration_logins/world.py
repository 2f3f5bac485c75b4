"""A database login's small world: two roles, one Secret, a few pods, an operator that may die between any two writes.

Passwords are numbers. Nobody knows 0. A role without one isn't there.
"""

from __future__ import annotations

from typing import NamedTuple

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import (
    Cause,
    DatabaseSeen,
    Decision,
    Effect,
    Memory,
    Observed,
    RoleSeen,
    SecretSeen,
    Session,
    Spec,
    Trouble,
)
from slipway_operator.rotations import Rotation

ROLES = ("a", "b")
NOW = 1_000_000.0
EVERY = 86_400.0


class Login(NamedTuple):
    """`written`: by the operator, as it stands; else by hand. `nonce` and `cause` of that write."""

    role: str
    password: int
    written: bool
    nonce: str = ""
    cause: Cause = "Created"


class Pod(NamedTuple):
    """`stage`: absent, starting or running. `holds`: what it loaded. `sessions`: roles it has a session of."""

    stage: str = "absent"
    holds: tuple[str, int] = ("", 0)
    sessions: frozenset[str] = frozenset()
    deaf: bool = False


class Kept(NamedTuple):
    """The status. `due`: the role in use has been so for longer than it may."""

    role: str = ""
    due: bool = False
    nonce: str = ""
    scrambled: frozenset[str] = frozenset()
    turning: bool = False
    cause: Cause = "Created"


class Step(NamedTuple):
    """Where the operator is: idle, decided (the status is written), or between the two writes of a hand-over."""

    at: str = "idle"
    effect: Effect | None = None
    password: int = 0
    fresh: bool = True
    """Nobody wrote the Secret since it was read."""


class World(NamedTuple):
    roles: tuple[int | None, int | None] = (None, None)
    secret: Login | None = None
    before: Login | None = None
    """What a backup of the Secret holds."""
    pods: tuple[Pod, ...] = (Pod(), Pod())
    kept: Kept = Kept()
    done: frozenset[str] = frozenset()
    """Roles that this very process scrambled since its last look."""
    step: Step = Step()
    nonce: str = ""
    away: bool = False
    migrates: bool = False
    meddled: bool = False
    """Somebody changed the Secret or the roles by hand, and the Secret wasn't written since."""
    left: int = 0
    fault: str = ""

    def password(self, role: str) -> int | None:
        return self.roles[ROLES.index(role)] if role in ROLES else -1

    def with_password(self, role: str, password: int | None) -> World:
        first, second = self.roles
        return self._replace(roles=(password, second) if role == ROLES[0] else (first, password))

    @property
    def works(self) -> bool:
        """Whether the Secret's login opens a session."""
        return self.secret is not None and 0 < self.secret.password == self.password(self.secret.role)

    def uses(self, role: str) -> list[int]:
        """Pods that have a session of this role, or run and hold what opens one."""
        opens = (role, self.password(role))
        return [
            number
            for number, pod in enumerate(self.pods)
            if role in pod.sessions or (pod.stage == "running" and pod.holds == opens and opens[1])
        ]


def observed(world: World, *, blind: bool = False) -> Observed:
    """`blind`: nothing that refers to the Secret is seen, although pods use it."""
    sessions = [Session(pid, role, "app") for pid, pod in enumerate(world.pods) for role in sorted(pod.sessions)]
    reports = tuple(_report(number, pod) for number, pod in enumerate(world.pods) if pod.stage != "absent")
    secret, kept = world.secret, world.kept
    opens = world.works if secret is not None and secret.role in ROLES else None
    seen = DatabaseSeen(
        tuple(RoleSeen(role, exists=world.password(role) is not None, fit=True) for role in ROLES),
        tuple(sessions),
        opens,
    )
    return Observed(
        "login",
        Spec("admin", "app", ("a", "b"), "login", Endpoint("app=app"), EVERY, nonce=world.nonce, history_limit=0),
        Memory(
            kept.role,
            (NOW - EVERY if kept.due else NOW) if kept.role else None,
            kept.nonce,
            kept.scrambled,
            (Rotation(kept.role, NOW, kept.cause),) if kept.turning else (),
        ),
        SecretSeen(secret.role, True, False, secret.written, True, secret.cause, secret.nonce) if secret else None,
        Consumers() if blind else Consumers(reports, 0 if reports else len(world.pods), refers=True),
        None if world.away else seen,
        Trouble("DatabaseUnreachable", "Nobody answers.") if world.away else None,
        "job" if world.migrates else "",
        world.done,
    )


def _report(number: int, pod: Pod) -> Report:
    if pod.deaf or pod.stage == "starting":
        return Report(f"pod-{number}", "TimedOut", starting=pod.stage == "starting")
    return Report(f"pod-{number}", database_role=pod.holds[0])


def look(world: World, *, blind: bool = False) -> tuple[World, Decision]:
    """Look, decide, and write the status."""
    seen = observed(world, blind=blind)
    decision = decide(seen, NOW)
    memory = decision.memory
    latest = memory.history[0] if memory.history else None
    kept = Kept(
        memory.role,
        due=memory.role_since is not None and memory.role_since < NOW,
        nonce=memory.handled_nonce,
        scrambled=memory.scrambled,
        turning=latest is not None and latest.result is None,
        cause=latest.cause if latest is not None and latest.result is None else "Created",
    )
    after = world._replace(kept=kept, done=frozenset())
    if decision.effect is not None:
        after = after._replace(step=Step("decided", decision.effect))
        if seen.migrating:
            after = after._replace(fault="an effect was decided upon while a migration runs")
    return after, decision
