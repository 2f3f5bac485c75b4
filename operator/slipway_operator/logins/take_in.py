"""What the Secret, the pods and the database show, taken into the memory of a login. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slipway_operator.evidence.consumers import Following, Report, following
from slipway_operator.logins.model import Memory, Observed, RoleSeen, SecretSeen, Session, Spec
from slipway_operator.rotations import Rotation, begun, closed


@dataclass(frozen=True, slots=True)
class Situation:
    """An observation, with what it shows taken into `memory`; `now` in seconds since the epoch."""

    observed: Observed
    memory: Memory
    now: float

    @property
    def spec(self) -> Spec:
        return self.observed.spec

    @property
    def sound(self) -> bool:
        """Whether pods can log in with what the Secret holds, as far as anything tells."""
        secret = self.observed.secret
        return secret is not None and secret.ours and secret.address_ok and _taken(self.observed, self.memory)

    @property
    def turning(self) -> bool:
        """Whether the last rotation is not through yet."""
        return bool(self.memory.history) and self.memory.history[0].result is None

    @property
    def others(self) -> tuple[str, ...]:
        """The roles that the Secret doesn't hold."""
        return tuple(role for role in self.spec.roles if role != self.memory.role)

    def unfit(self) -> tuple[RoleSeen, ...]:
        """Roles to make or to mend."""
        database = self.observed.database
        return tuple(role for role in database.roles if not (role.exists and role.fit)) if database else ()

    def sessions(self, *roles: str) -> tuple[Session, ...]:
        """The oldest first."""
        database = self.observed.database
        found = [each for each in database.sessions if each.role in roles] if database else []
        return tuple(sorted(found, key=lambda each: (each.started or 0.0, each.pid)))

    def follows(self) -> Following:
        """How far the pods use the role that the Secret holds."""
        role = self.memory.role

        def objection(report: Report) -> str:
            return "" if report.database_role == role else "OldRole"

        return following(self.observed.consumers, objection)

    def users(self, role: str) -> Following:
        """Which pods keep a role's password from being changed: `opposed` use it."""

        def objection(report: Report) -> str:
            return "UsesRole" if report.database_role == role else ""

        return following(self.observed.consumers, objection)

    def candidates(self) -> tuple[str, ...]:
        """Roles that a Secret which isn't sound may get a login of, best first.

        Not the one whose login in it works, whoever wrote it: a pod may take that up at any moment.
        """
        secret, database = self.observed.secret, self.observed.database
        taken = secret.role if secret and database and (database.logs_in or not secret.ours) else ""
        left = [role for role in self.spec.roles if role != taken]
        return tuple(sorted(left, key=lambda role: role == self.memory.role))

    def free(self, role: str) -> bool:
        """Whether the password may change although not every pod has followed: no pod uses it.

        That no pod runs is enough here: without a login that works none may ever start. One that starts and tells
        nothing may have loaded it, unless nobody knows it.
        """
        users = self.users(role)
        if self.sessions(role) or users.opposed or users.unheard:
            return False
        unknown = role in self.memory.scrambled
        if not self.observed.consumers.refers:
            # The first login is made before anything uses it; later on, nothing seen proves nothing.
            return unknown and not self.memory.role
        return unknown or not users.starting


def situation(observed: Observed, now: float) -> Situation:
    memory = placed(observed)
    if moved(observed, memory):
        # What another server shows is no evidence of these roles.
        return Situation(observed, memory, now)
    if memory.role not in ("", *observed.spec.roles):
        memory = replace(memory, role="", role_since=None)
    memory = replace(memory, scrambled=_scrambled(memory, observed))
    secret = observed.secret
    if secret is not None and secret.ours and _taken(observed, memory):
        memory = _handed_over(memory, secret, now)
    return Situation(observed, _ended(memory, observed.spec, now), now)


def placed(observed: Observed) -> Memory:
    """The memory, with the server that is known, unless it is the first, or a person has accepted another."""
    found = observed.database.server if observed.database else ""
    # Before a role has taken over, nobody uses one: a Secret that was wrong at first may be corrected.
    known = observed.memory.server if observed.memory.role else ""
    taken = found and (not known or found == observed.accepted_server)
    return replace(observed.memory, server=found) if taken else observed.memory


def moved(observed: Observed, memory: Memory) -> bool:
    """Whether the admin's Secret leads to another server than the roles are on, and nobody has said that it may."""
    return observed.database is not None and observed.database.server not in ("", memory.server)


def _taken(observed: Observed, memory: Memory) -> bool:
    """Whether the Secret is what the operator wrote last: one put back from a backup is whole, and may be too old.

    What a password opens is asked, so that goes before what is remembered.
    """
    secret = observed.secret
    if secret is None or not secret.intact or secret.role not in observed.spec.roles:
        return False
    opens = observed.database.logs_in if observed.database else None
    return opens if opens is not None else secret.role not in memory.scrambled


def _scrambled(memory: Memory, observed: Observed) -> frozenset[str]:
    """Roles whose password nobody knows. One that was dropped may be made anew with a password that somebody knows.

    A login that works, a pod that tells of the role, and a session prove the contrary, whoever set the password.
    """
    database, secret = observed.database, observed.secret
    known = memory.scrambled | observed.scrambled
    known -= {report.database_role for report in observed.consumers.reports}
    if database is not None:
        known -= {role.name for role in database.roles if not role.exists}
        known -= {session.role for session in database.sessions}
        if secret is not None and database.logs_in:
            known -= {secret.role}
    return known & frozenset(observed.spec.roles)


def _handed_over(memory: Memory, secret: SecretSeen, now: float) -> Memory:
    if secret.role == memory.role:
        return replace(memory, handled_nonce=secret.nonce, scrambled=memory.scrambled - {secret.role})
    return Memory(
        secret.role,
        now,
        secret.nonce,
        # The one that steps down has a password that pods still know.
        memory.scrambled - {secret.role, memory.role},
        begun(memory.history, Rotation(secret.role, now, secret.cause, memory.role)),
        memory.server,
    )


def _ended(memory: Memory, spec: Spec, now: float) -> Memory:
    """A rotation is through once nobody can log in with the other role."""
    history = memory.history
    if memory.scrambled | {memory.role} >= set(spec.roles):
        history = closed(history, now, "Confirmed")
    return replace(memory, history=history[: max(1, spec.history_limit)])
