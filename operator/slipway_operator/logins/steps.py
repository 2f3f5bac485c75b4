"""How a check of a login answers, and what keeps an effect from beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import Following, named, stuck, ways_out
from slipway_operator.logins.model import Decision, Effect, HandOver, PrepareRoles, Session, Verdict
from slipway_operator.logins.take_in import Situation

SOON, BLOCKED, WAITING, IDLE = 1.0, 2.0, 15.0, 300.0
"""Seconds until the next look: while something is under way, while a server starts or a migration runs, at most while
it lags, and where nothing is. An install waits for the first two."""
LONG = 300.0
"""Seconds after which sessions that remain are told of once more."""
NAMED_SESSIONS = 10


def asked(seen: Situation) -> bool:
    """Whether a nonce asks for a rotation. One that was taken away asks for nothing."""
    return seen.spec.nonce not in ("", seen.memory.handled_nonce)


def due(seen: Situation) -> float:
    """When the next rotation is to start, in seconds since the epoch."""
    since = seen.memory.role_since
    if asked(seen) or since is None:
        return seen.now
    return since + seen.spec.rotate_every


def age(seen: Situation) -> float:
    """Seconds since the role in use took over."""
    since = seen.memory.role_since
    return seen.now - since if since is not None else 0.0


def patience(seen: Situation) -> float:
    """Often at first; pods and sessions that have stayed for minutes are asked every 15 s."""
    return min(WAITING, max(SOON, age(seen) / 20))


def answer(
    seen: Situation,
    state: State,
    reason: str,
    message: str,
    *,
    look_again: float | None = None,
    nudge: tuple[str, ...] = (),
    effect: Effect | None = None,
) -> Decision:
    """The whole decision of a check."""
    found = seen.follows() if seen.memory.role else Following()
    since = seen.memory.role_since
    verdict = Verdict(
        state,
        reason,
        message,
        running=len(seen.observed.consumers.pods),
        confirmed=found.heard,
        lagging=found.lagging,
        old_sessions=seen.sessions(*seen.others) if seen.memory.role else (),
        next_rotation=None if since is None or seen.spec.suspend else since + seen.spec.rotate_every,
    )
    return Decision(seen.memory, verdict, effect, nudge, look_again)


def act(seen: Situation, reason: str, message: str, effect: Effect) -> Decision:
    """Change the database, unless a migration does."""
    if seen.observed.migrating:
        text = f"The Job {seen.observed.migrating} migrates this database. After it: {message}"
        return answer(seen, "Reconciling", "MigrationRuns", text, look_again=BLOCKED)
    # Said before it is done, because nobody may be there afterwards to say it.
    seen = replace(seen, memory=replace(seen.memory, scrambled=_unknown(seen, effect)))
    return answer(seen, "Reconciling", reason, message, look_again=0.0, effect=effect)


def _unknown(seen: Situation, effect: Effect) -> frozenset[str]:
    """Roles whose password nobody knows once this effect has begun."""
    known = seen.memory.scrambled
    if isinstance(effect, HandOver):
        # Of the other one of a first pair it is said no more: that it is still so isn't proved until it is scrambled.
        return known - {effect.role} if seen.memory.role else frozenset()
    if isinstance(effect, PrepareRoles) and not seen.memory.role:
        # Those that are made; should that come to nothing, they still don't exist.
        return known | {role.name for role in seen.unfit() if not role.exists}
    return known


def lag(seen: Situation, found: Following, text: str) -> Decision:
    """Reconciling until the pods follow, or can be asked; Stalled where that won't be by itself."""
    if found.nobody and not found.lagging:
        message = f"{text} No pod runs, and {seen.observed.consumers.wanted} are wanted."
        return answer(seen, "Reconciling", "AwaitingConsumers", message, look_again=patience(seen))
    behind = tuple(sorted(one.pod for one in found.opposed))
    message = f"{text} Waiting for {named(found.lagging)}.{ways_out(found.lagging)}"
    if end := stuck(found, seen.memory.role_since or 0.0, seen.now):
        return answer(seen, "Stalled", end.reason, message, look_again=patience(seen), nudge=behind)
    return answer(seen, "Reconciling", "ConsumersLagging", message, look_again=patience(seen), nudge=behind)


def linger(seen: Situation, found: Sequence[Session], text: str) -> Decision:
    """Reconciling until they end; nobody's session is killed."""
    reason = "OldSessionsStay" if age(seen) >= LONG else "OldSessionsRemain"
    message = f"{text} Waiting for {len(found)} to end: {_listed(found, seen.now)}."
    return answer(seen, "Reconciling", reason, message, look_again=patience(seen))


def _listed(sessions: Sequence[Session], now: float) -> str:
    shown = [
        f"pid {one.pid} ({one.application_name or 'no application_name'}"
        + (f", {max(0.0, now - one.started):.0f} s old)" if one.started is not None else ")")
        for one in sessions[:NAMED_SESSIONS]
    ]
    more = len(sessions) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
