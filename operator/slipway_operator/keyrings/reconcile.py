"""Observe, decide, apply: one look at a KeyRing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from slipway_operator.cluster import Api
from slipway_operator.evidence.asking import Asking
from slipway_operator.evidence.nudging import Nudges
from slipway_operator.keyrings import apply
from slipway_operator.keyrings.decide import decide
from slipway_operator.keyrings.model import Decision, Verdict
from slipway_operator.keyrings.observe import KEY_RINGS, Jwk, look, unseen
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.reconciling import telling_of_refusals
from slipway_operator.telemetry import LAGGING, forget_resource
from slipway_operator.worklist import Key


class KeyRings:
    """Reconciles KeyRings. `clock` gives seconds since the epoch; None: the API server's.

    Private keys of the last whole Secret, and those that it should hold besides, are kept here, and only here, to heal
    it with.
    """

    def __init__(
        self, api: Api, http: aiohttp.ClientSession, secrets: NamedSecrets, clock: Callable[[], float] | None = None
    ) -> None:
        self._api = api
        self._asking = Asking(api, http)
        self._secrets = secrets
        self._clock = clock or api.clock
        self._nudges = Nudges(api)
        self._kept: dict[Key, Mapping[str, Jwk]] = {}
        self._known: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look. Raises ApiError; one that stays until a person acts is in the status then."""
        return await telling_of_refusals(self._api, KEY_RINGS, key, self._reconcile, self._tell)

    async def _reconcile(self, key: Key) -> float | None:
        seen = await look(self._api, self._asking, key.namespace, key.name, self._kept.get(key, {}))
        if seen is None:
            self._forget(key)
            return None
        self._secrets.follow(key, seen.observed.spec.secret_name)
        now = self._clock()
        anew = key not in self._known and not self._api.clock.goes_on(seen.resource.get("status") or {})
        seen = replace(seen, observed=replace(seen.observed, anew=anew))
        decision = decide(seen.observed, now)
        LAGGING.labels(*key).set(len(decision.verdict.lagging))
        if not await apply.write(self._api, seen, decision, now):
            return 0.0
        if seen.whole:
            self._known.add(key)
        secret = seen.observed.secret
        if secret is not None and secret.ours and secret.intact:
            self._keep(key, decision, {held.id: seen.keys[held.id] for held in secret.keys})
        if decision.effect is not None:
            held = await apply.keys(seen, decision.effect)
            # Before: a hand may change the Secret before the next look, and an answer may be lost.
            self._keep(key, decision, held)
            if await apply.effect(self._api, seen, decision.effect, held):
                await self._nudges.at_once(key, seen.observed.consumers.pods, now)
            return 0.0
        await self._nudges.again(key, decision.nudge, now)
        return decision.look_again

    def _keep(self, key: Key, decision: Decision, held: Mapping[str, Jwk]) -> None:
        """Only what the ring needs: a key that was revoked or retired is forgotten here, too."""
        living = {each.id for each in decision.memory.keys if each.stage != "Revoked"}
        former = self._kept.get(key, {})
        self._kept[key] = {**{each: former[each] for each in living & former.keys()}, **held}

    def _forget(self, key: Key) -> None:
        self._kept.pop(key, None)
        self._known.discard(key)
        self._nudges.forget(key)
        self._secrets.forget(key)
        forget_resource(*key)

    async def _tell(self, resource: dict[str, Any], refusal: str) -> None:
        seen = unseen(resource)
        told = Decision(seen.observed.memory, Verdict("Reconciling", "ClusterRefuses", refusal))
        await apply.write(self._api, seen, told, self._clock())
