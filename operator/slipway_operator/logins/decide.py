"""The next step of a database login. Pure: what was observed goes in, one decision comes out."""

from __future__ import annotations

from collections.abc import Callable

from slipway_operator.checks import first_answer
from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import unreferred
from slipway_operator.logins.model import Cause, Decision, HandOver, Observed, PrepareRoles, Scramble, Verdict
from slipway_operator.logins.steps import BLOCKED, IDLE, SOON, WAITING, act, answer, asked, due, lag, linger
from slipway_operator.logins.take_in import Situation, moved, situation
from slipway_operator.secret_objects import label_value

Check = Callable[[Situation], Decision | None]


def decide(observed: Observed, now: float) -> Decision:
    """What to write, and at most one change of the database. `now` in seconds since the epoch."""
    if observed.spec_fault is not None:
        # Without a spec nothing can be taken in: what is remembered stays as it is.
        return Decision(observed.memory, Verdict("Stalled", "InvalidSpec", observed.spec_fault))
    return first_answer(CHECKS, situation(observed, now))


def active(seen: Situation) -> Decision | None:
    if not seen.spec.suspend:
        return None
    return answer(seen, "Suspended", "Suspended", "spec.suspend is set: no role and no password is changed.")


def ours(seen: Situation) -> Decision | None:
    """A Secret of somebody else's is left alone, unless its label offers it."""
    secret = seen.observed.secret
    if secret is None or secret.ours or secret.offered:
        return None
    name, login = seen.spec.secret_name, seen.observed.name
    text = (
        f"The Secret {name} was not made for this DatabaseLogin. Name another one, delete it, or let it be taken over: "
        f"kubectl label secret {name} slipway.dev/take-over={label_value(login)}"
    )
    return answer(seen, "Stalled", "SecretNotOurs", text, look_again=IDLE)


def reachable(seen: Situation) -> Decision | None:
    trouble = seen.observed.trouble
    if trouble is not None:
        state: State = "Stalled" if trouble.lasting else "Reconciling"
        look_again = WAITING if trouble.lasting else BLOCKED
        return answer(seen, state, trouble.reason, trouble.message, look_again=look_again)
    if seen.observed.database is None:
        text = "The database was not looked at."
        return answer(seen, "Reconciling", "DatabaseUnseen", text, look_again=SOON)
    return None


def stayed(seen: Situation) -> Decision | None:
    """Another server knows nothing of these roles' passwords; what pods use may still be the former."""
    database = seen.observed.database
    if database is None or not moved(seen.observed, seen.memory):
        return None
    spec, name = seen.spec, seen.observed.name
    text = (
        f"Secret {spec.admin_secret} leads to another server ({database.server}) than the roles were made on "
        f"({seen.memory.server}). Nothing is changed on either. If that is meant, as after a restore, say so: "
        f"kubectl annotate --overwrite databaselogin {name} slipway.dev/server={database.server}"
    )
    return answer(seen, "Stalled", "ServerChanged", text, look_again=WAITING)


def prepared(seen: Situation) -> Decision | None:
    """Both roles are there, with what the spec wants of them, and no right beyond."""
    unfit = seen.unfit()
    if not unfit:
        return None
    named = ", ".join(f"{role.name} ({role.unfit or 'missing'})" for role in unfit)
    text = f"Roles are made or mended: {named}."
    return act(seen, "PreparingRoles", text, PrepareRoles(tuple(role.name for role in unfit)))


def sound(seen: Situation) -> Decision | None:
    """A Secret that is missing, changed, or no longer opens the database is written anew, for a role nobody uses."""
    if seen.sound:
        return None
    secret, text = seen.observed.secret, f"The Secret {seen.spec.secret_name} holds no login of the operator's making."
    candidates = seen.candidates()
    free = next((role for role in candidates if seen.free(role)), None)
    if free is not None:
        if refused := _refused(seen):
            return refused
        cause: Cause = "Healed" if secret or seen.memory.role else "Created"
        nonce = seen.memory.handled_nonce if seen.memory.role else seen.spec.nonce
        return act(seen, "WritingSecret", f"{text} It gets one of {free}.", HandOver(free, cause, nonce))
    used = {role: seen.users(role) for role in candidates}
    if len(used) > 1 and all(users.opposed for users in used.values()):
        pods = ", ".join(one.pod for one in min((users.opposed for users in used.values()), key=len)[:5])
        text += (
            " Pods use both roles, so neither may get another password. Put the Secret back from a backup, or delete"
            f" the pods of one role ({pods}): once nobody uses it, its new login is written."
        )
        return answer(seen, "Stalled", "BothRolesInUse", text, look_again=WAITING / 3)
    # The role that only sessions hold is the nearest to being free.
    role = min(candidates, key=lambda role: (bool(used[role].lagging), bool(used[role].opposed)))
    text += f" {role} gets a new login once nobody uses it."
    if used[role].starting:
        text += " A pod that can't start with the login it loaded is to be deleted."
    if used[role].lagging:
        return lag(seen, used[role], text)
    sessions = seen.sessions(role)
    ways = f"or, where nobody uses {' and '.join(candidates)}, drop these roles: they are made anew."
    unseen = None if sessions else _unseen(seen, ways, waits=True)
    return unseen or linger(seen, sessions, text)


def _refused(seen: Situation) -> Decision | None:
    """Where PostgreSQL refuses what the operator itself wrote, the next is written less and less soon."""
    secret, database, left = seen.observed.secret, seen.observed.database, seen.observed.rests_until - seen.now
    written = secret is not None and secret.ours and secret.intact and secret.address_ok
    if left <= 0 or secret is None or database is None or not written or database.logs_in is not False:
        return None
    text = (
        f"PostgreSQL refuses the login of {secret.role} that the operator wrote a moment ago. Either the admin's "
        "address leads through a pooler that doesn't know that role, or somebody else sets its password, such as the "
        "operator of a cluster that this one is a copy of. Another is written within ten minutes."
    )
    return answer(seen, "Stalled", "LoginRefused", text, look_again=min(left, WAITING))


def consumed(seen: Situation) -> Decision | None:
    """Something refers to the Secret: else nothing seen proves anything, and no password may change or die."""
    turning = seen.turning and bool(seen.memory.history[0].origin)
    return _unseen(seen, waits=turning or seen.now >= due(seen))


def _unseen(seen: Situation, besides: str = "", *, waits: bool) -> Decision | None:
    """None where something refers to the Secret. `waits`: for a step that needs evidence."""
    reason, text = unreferred(seen.observed.consumers, seen.spec.secret_name, seen.spec.endpoint.selector)
    if not reason:
        return None
    text += f" {besides} Until then no role takes over, and no password is made unknown."
    if reason != "NoConsumers":
        return answer(seen, "Reconciling", reason, text, look_again=WAITING)
    # A login may be made long before what uses it, and whoever waits for it to be Ready mustn't wait for that.
    return answer(seen, "Stalled" if waits else "Ready", reason, text, look_again=WAITING)


def followed(seen: Situation) -> Decision | None:
    """Every pod uses the role that the Secret holds. Pods that only start are waited for while a rotation needs it."""
    found = seen.follows()
    if found.opposed or ((seen.turning or seen.now >= due(seen)) and not found.all):
        return lag(seen, found, f"Not every pod uses {seen.memory.role} yet.")
    return None


def scrambled(seen: Situation) -> Decision | None:
    """The other role's password dies once nobody uses it."""
    left = next((role for role in seen.others if role not in seen.memory.scrambled), None)
    if left is None or not seen.follows().all:
        return None
    if sessions := seen.sessions(left):
        return linger(seen, sessions, f"Every pod uses {seen.memory.role}, and sessions of {left} remain.")
    return act(seen, "Scrambling", f"Nobody uses {left}: its password is made unknown.", Scramble(left))


def rotated(seen: Situation) -> Decision | None:
    """`followed` has seen all pods use one role, so the other's password may change once its sessions are over."""
    if seen.now < due(seen):
        return None
    other = seen.others[0]
    if sessions := seen.sessions(other):
        return linger(seen, sessions, f"{other} can't take over while it has sessions.")
    nonce = seen.spec.nonce or seen.memory.handled_nonce
    cause: Cause = "Nonce" if asked(seen) else "Schedule"
    return act(seen, "Rotating", f"{other} takes over.", HandOver(other, cause, nonce))


def _rests(seen: Situation) -> Decision:
    look_again = min(max(due(seen) - seen.now, SOON), IDLE)
    if any(role not in seen.memory.scrambled for role in seen.others):
        text = f"Pods log in as {seen.memory.role}; the other role's password changes once each pod could be asked."
        return answer(seen, "Ready", "Rotated", text, look_again=WAITING)
    return answer(seen, "Ready", "Stable", f"Pods log in as {seen.memory.role}.", look_again=look_again)


CHECKS: tuple[Check, ...] = (
    active, ours, reachable, stayed, prepared, sound, consumed, followed, scrambled, rotated, _rests,
)  # fmt: skip
