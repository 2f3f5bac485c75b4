"""Observe, decide, apply: one look at a SchemaMigration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slipway_operator.cluster import Api
from slipway_operator.exclusion import Exclusion
from slipway_operator.migrations import apply
from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import CreateJob, Decision, Trouble
from slipway_operator.migrations.observe import MIGRATIONS, look, unseen
from slipway_operator.migrations.situation import Situation, answer
from slipway_operator.migrations.template import RefusedError
from slipway_operator.reconciling import telling_of_refusals
from slipway_operator.telemetry import forget_resource
from slipway_operator.worklist import Key

REFUSED_PAUSE = 15.0
"""Seconds until a Job that couldn't be made is tried again."""


class Migrations:
    """Reconciles SchemaMigrations. `clock` gives seconds since the epoch; None: the API server's.

    What keeps a Job from being made is remembered only here: each look finds it out anew. `exclusion`: the one that
    DatabaseLogins take, so that no Job begins while a login changes.
    """

    def __init__(
        self, api: Api, clock: Callable[[], float] | None = None, *, exclusion: Exclusion | None = None
    ) -> None:
        self._api = api
        self._exclusion = exclusion or Exclusion()
        self._clock = clock or api.clock
        self._refused: dict[Key, Trouble] = {}
        self._known: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look. Raises ApiError; one that stays until a person acts is in the status then."""
        return await telling_of_refusals(self._api, MIGRATIONS, key, self._reconcile, self._tell)

    async def _tell(self, resource: dict[str, Any], refusal: str) -> None:
        now = self._clock()
        seen = unseen(resource)
        situation = Situation(seen.observed, seen.observed.memory, now)
        await apply.write(self._api, seen, answer(situation, "Reconciling", "ClusterRefuses", refusal), now)

    async def _reconcile(self, key: Key) -> float | None:
        now = self._clock()
        seen = await look(self._api, key.namespace, key.name, now)
        if seen is None:
            self._refused.pop(key, None)
            self._known.discard(key)
            forget_resource(*key)
            return None
        anew = key not in self._known and not self._api.clock.goes_on(seen.resource.get("status") or {})
        seen = replace(seen, observed=replace(seen.observed, anew=anew))
        decision = decide(seen.observed, now)
        try:
            job = await apply.manifest(self._api, seen, decision)
        except RefusedError as error:
            job, decision = None, _without_job(decision, error.trouble)
        if not isinstance(decision.effect, CreateJob):
            self._refused.pop(key, None)
        shown = _shown(decision, self._refused.get(key))
        try:
            if not await apply.write(self._api, seen, shown, now):
                return 0.0
            if seen.whole:
                self._known.add(key)
        except RefusedError as error:
            # Without its SQL a plan isn't remembered: the next look reads it again.
            told = replace(_without_job(decision, error.trouble), memory=seen.observed.memory)
            await apply.write(self._api, replace(seen, sql={}, whole=False), told, now)
            return REFUSED_PAUSE
        refused = await apply.effect(self._api, self._exclusion, seen, decision, job)
        if refused is None:
            self._refused.pop(key, None)
            return decision.look_again
        return self._refuse(key, refused)

    def _refuse(self, key: Key, trouble: Trouble) -> float:
        """The next look, at once when it is news, says so in the status."""
        news = self._refused.get(key) != trouble
        self._refused[key] = trouble
        return 0.0 if news else REFUSED_PAUSE


def _shown(decision: Decision, trouble: Trouble | None) -> Decision:
    """With what kept the Job from being made the last time; it is tried again all the same."""
    if trouble is None:
        return decision
    return replace(decision, verdict=_told(decision, trouble).verdict)


def _without_job(decision: Decision, trouble: Trouble) -> Decision:
    return replace(_told(decision, trouble), effect=None, look_again=REFUSED_PAUSE)


def _told(decision: Decision, trouble: Trouble) -> Decision:
    verdict = replace(decision.verdict, state="Stalled" if trouble.lasting else "Reconciling")
    verdict = replace(verdict, reason=trouble.reason, message=trouble.message)
    return replace(decision, verdict=verdict)
