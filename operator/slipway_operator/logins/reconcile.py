"""Observe, decide, apply: one look at a DatabaseLogin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp

from slipway_operator.cluster import Api
from slipway_operator.conditions import State
from slipway_operator.evidence.asking import Asking
from slipway_operator.evidence.nudging import Nudges
from slipway_operator.exclusion import Exclusion
from slipway_operator.logins import apply
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import Decision, HandOver, Scramble, Trouble, Verdict
from slipway_operator.logins.observe import LOGINS, Look, look, unseen
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.reconciling import telling_of_refusals
from slipway_operator.telemetry import LAGGING, PROPAGATION, forget_resource
from slipway_operator.worklist import Key

REFUSED_PAUSE = 15.0
"""Seconds until a change that the database refused is tried again."""
FIRST_REST, LONGEST_REST = 15.0, 600.0
"""Seconds until a login that PostgreSQL refuses is written once more, doubled from the first to this."""
BUSY_PAUSE = 1.0
"""Seconds until the next look where a Job or somebody's write came between look and act."""


class DatabaseLogins:
    """Reconciles DatabaseLogins. `clock` gives seconds since the epoch; None: the API server's.

    What the database refused to do is remembered only here, because each look tries it anew, and so is what was just
    scrambled, until the next look has written it: no catalog shows it, and doing it twice does no harm.
    """

    def __init__(
        self,
        api: Api,
        http: aiohttp.ClientSession,
        secrets: NamedSecrets,
        exclusion: Exclusion,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._api = api
        self._asking = Asking(api, http)
        self._secrets = secrets
        self._exclusion = exclusion
        self._clock = clock or api.clock
        self._nudges = Nudges(api)
        self._refused: dict[Key, Trouble] = {}
        self._written: dict[Key, float] = {}
        self._scrambled: dict[Key, frozenset[str]] = {}
        self._rests: dict[Key, tuple[float, float]] = {}
        """How long each rests, and until when."""
        self._fenced: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look. Raises ApiError; one that stays until a person acts is in the status then."""
        return await telling_of_refusals(self._api, LOGINS, key, self._reconcile, self._tell)

    async def _reconcile(self, key: Key) -> float | None:
        seen = await look(self._api, self._asking, key.namespace, key.name)
        if seen is None:
            self._forget(key)
            return None
        self._secrets.follow(key, seen.observed.spec.secret_name)
        try:
            if await apply.fence(self._api, seen, fenced=key in self._fenced):
                return BUSY_PAUSE
            if set(apply.terms(seen)) == {self._api.guard.term(key.namespace)}:
                self._fenced.add(key)
        except TroubleError as fault:
            seen = replace(seen, observed=replace(seen.observed, database=None, trouble=fault.trouble))
        now = self._clock()
        if seen.observed.database is not None and seen.observed.database.logs_in:
            self._rests.pop(key, None)
        own = self._scrambled.get(key, frozenset()), self._rests.get(key, (0.0, 0.0))[1]
        seen = replace(seen, observed=replace(seen.observed, scrambled=own[0], rests_until=own[1]))
        decision = decide(seen.observed, now)
        if decision.effect is None:
            self._refused.pop(key, None)
        shown = _shown(decision, self._refused.get(key))
        if not await apply.write(self._api, seen, shown, now):
            return 0.0
        # It is in the status now, which remembers it for as long as it holds.
        self._scrambled.pop(key, None)
        self._measure(key, seen, decision, now)
        if decision.effect is not None:
            return await self._act(key, seen, decision, now)
        await self._nudges.again(key, decision.nudge, now)
        return decision.look_again

    async def _act(self, key: Key, seen: Look, decision: Decision, now: float) -> float:
        wish = decision.effect
        if wish is None:
            return 0.0
        try:
            done = await apply.effect(self._api, self._exclusion, seen, wish)
        except TroubleError as fault:
            # The next look, at once when it is news, says so in the status.
            news = self._refused.get(key) != fault.trouble
            self._refused[key] = fault.trouble
            return 0.0 if news else REFUSED_PAUSE
        self._refused.pop(key, None)
        if not done:
            return BUSY_PAUSE
        if isinstance(wish, Scramble):
            self._scrambled[key] = frozenset({wish.role})
        if isinstance(wish, HandOver):
            self._written[key] = self._clock()
            rest = min(LONGEST_REST, 2 * self._rests.get(key, (FIRST_REST / 2, 0.0))[0])
            self._rests[key] = rest, now + rest
            await self._nudges.at_once(key, seen.observed.consumers.pods, now)
        return 0.0

    def _measure(self, key: Key, seen: Look, decision: Decision, now: float) -> None:
        LAGGING.labels(*key).set(len(decision.verdict.lagging))
        secret, reports = seen.observed.secret, seen.observed.consumers.reports
        if key in self._written and secret and reports and all(one.database_role == secret.role for one in reports):
            PROPAGATION.labels(apply.KIND).observe(now - self._written.pop(key))

    def _forget(self, key: Key) -> None:
        self._refused.pop(key, None)
        self._written.pop(key, None)
        self._scrambled.pop(key, None)
        self._rests.pop(key, None)
        self._fenced.discard(key)
        self._nudges.forget(key)
        self._secrets.forget(key)
        forget_resource(*key)

    async def _tell(self, resource: dict[str, Any], refusal: str) -> None:
        seen = unseen(resource)
        told = Decision(seen.observed.memory, Verdict("Reconciling", "ClusterRefuses", refusal))
        await apply.write(self._api, seen, told, self._clock())


def _shown(decision: Decision, trouble: Trouble | None) -> Decision:
    """With what the database refused the last time; it is tried again all the same."""
    if trouble is None:
        return decision
    state: State = "Stalled" if trouble.lasting else "Reconciling"
    verdict = replace(decision.verdict, state=state, reason=trouble.reason, message=trouble.message)
    return replace(decision, verdict=verdict)
