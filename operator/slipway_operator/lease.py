"""One Lease, held as client-go's leader election holds it, so that whoever knows that knows this.

Clocks of machines are never compared: a challenger waits for as long as the Lease names, counted on its own clock since
it last saw it change. What the Lease tells of times is for people.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway_operator.clock import awake
from slipway_operator.cluster import PODS, Api, ConflictError, ForbiddenError, NotFoundError, Resource

KIND = "Lease"
LEASES = Resource("coordination.k8s.io", "v1", "leases")
CALL_SECONDS = 5.0
LEAST = 15.0
"""Seconds that any holder has, whatever a hand wrote into its Lease: until it renews it goes by its own."""
SPARE = 1.0
"""Seconds before the end of a Lease by which an effect must be over: clocks of two machines don't run equally fast."""
FORMER_SECONDS = 180
"""What releases wrote that took no notice of others: they end without giving the Lease back."""


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds. `duration`: that others leave a Lease alone which doesn't change; `retry`: between two renewals.

    `deadline`: without a renewal for as long, its holder begins nothing, and gives up.
    """

    duration: float
    deadline: float
    retry: float


class LostError(Exception):
    """The Lease is another's, or couldn't be renewed in time: whatever it guarded has to end."""


class Lease:
    """`identity` is this process's alone. `gone`: of which holders it is known that they act no more.

    Only one task may call `attempt`, `renew` and `release`.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        times: Times,
        *,
        clock: Callable[[], float] = awake,
        gone: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._api = api
        self.namespace = namespace
        self.name = name
        self._identity = identity
        self._times = times
        self._clock = clock
        self._gone = gone
        self._found: dict[str, Any] | None = None
        self._changed_at = clock()
        self._renewed_at: float | None = None
        self._least = 0
        self.former = ""
        """Whose it was when this process took it."""

    @property
    def held(self) -> bool:
        return self._renewed_at is not None

    @property
    def holder(self) -> str:
        """As it was last seen; empty: nobody."""
        return str(_spec(self._found).get("holderIdentity") or "")

    @property
    def transitions(self) -> int:
        """How often it has changed hands: whoever holds it has the greatest number of all that ever did."""
        return int(_spec(self._found).get("leaseTransitions") or 0)

    def age(self) -> float | None:
        """Seconds since the last renewal was sent; None: it isn't held."""
        return None if self._renewed_at is None else self._clock() - self._renewed_at

    def left(self) -> float:
        """Seconds that something which begins now may take; 0: it may not begin."""
        age = self.age()
        return 0.0 if age is None or age >= self._times.deadline else self._times.duration - SPARE - age

    def due(self) -> float:
        """Seconds until its present holder has been silent for too long; 0 where there is none."""
        return max(0.0, self._changed_at + self._patience() - self._clock()) if self.holder else 0.0

    def outnumber(self, transitions: int) -> None:
        """The next renewal counts beyond that: one that was deleted begins at 0, and some remember greater numbers."""
        self._least = max(self._least, transitions + 1)

    async def attempt(self) -> bool:
        """Look, and take it if it is free; True: it is held. Raises ApiError."""
        asked_at = self._clock()
        found = await self._api.get(LEASES, self.namespace, self.name, seconds=CALL_SECONDS)
        if found is None:
            # Deleted by a hand, perhaps, under a holder who will make it anew.
            return not self._waits(asked_at) and await self._made()
        if self._found is None or _spec(found) != _spec(self._found):
            self._changed_at = self._clock()
        self._found = found
        if not await self._free(asked_at):
            return False
        try:
            await self._written(self._identity)
        except (ConflictError, NotFoundError):
            return False  # somebody else was faster
        return True

    async def renew(self) -> None:
        """Raises LostError, and ApiError of what may be tried again until `left` is 0."""
        age = self.age()
        if age is None or age >= self._times.deadline:
            raise LostError(f"The Lease {self.name} in {self.namespace} wasn't renewed for {age or 0.0:.0f} s.")
        try:
            await self._written(self._identity)
        except (ConflictError, NotFoundError):
            await self._reread()

    def give_up(self) -> None:
        """It isn't held any more, although it may still say so."""
        self._renewed_at = None

    async def release(self) -> None:
        """Let the next one have it at once. Raises ApiError; one that is another's stays so."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        with suppress(ConflictError, NotFoundError):
            await self._written("")
            return
        # Perhaps only because a renewal was broken off, and nobody heard that it was done.
        self._found = await self._api.get(LEASES, self.namespace, self.name, seconds=CALL_SECONDS)
        if self.holder == self._identity:
            with suppress(ConflictError, NotFoundError):
                await self._written("")

    def _patience(self) -> float:
        """What its holder says, not what we would: so clients with other times get on with each other."""
        told = float(_spec(self._found).get("leaseDurationSeconds") or self._times.duration)
        return max(told, min(LEAST, self._times.duration))

    def _waits(self, now: float) -> bool:
        """Whether somebody else may be at work, as far as was seen until then."""
        quiet = now - self._changed_at >= self._patience()
        return not (self.holder in ("", self._identity) or self._gone(self.holder) or quiet)

    async def _free(self, now: float) -> bool:
        if not self._waits(now):
            return True
        former = self._patience() == FORMER_SECONDS and "_" not in self.holder  # as it is in every identity since
        return former and await self._pod_is_gone(self.holder)

    async def _pod_is_gone(self, name: str) -> bool:
        """Whether that release's process has ended, which was called as its pod, and renews it but once a minute."""
        listed = await self._api.list(PODS, self.namespace, fields=f"metadata.name={name}")
        return not listed

    async def _made(self) -> bool:
        self._found = None
        metadata = {"name": self.name, "namespace": self.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": KIND, "metadata": metadata}
        at = self._clock()
        try:
            spec = self._wanted(self._identity)
            self._found = await self._api.claim(LEASES, self.namespace, {**body, "spec": spec}, self._identity)
        except ConflictError:
            return False  # somebody else was faster
        self._renewed_at = at
        return True

    async def _reread(self) -> None:
        """The Lease isn't as it was left: deleted, or changed by a hand, or the answer to our last write was lost."""
        found = await self._api.get(LEASES, self.namespace, self.name, seconds=CALL_SECONDS)
        if found is None:
            self.outnumber(self.transitions)
            try:
                made = await self._made()
            except (ForbiddenError, NotFoundError):
                # Its namespace is going, and whatever there was to look after with it.
                self._renewed_at = None
                raise
            if not made:
                self._renewed_at = None
                raise LostError(f"The Lease {self.name} in {self.namespace} was made anew by another.")
            return
        holder = _spec(found).get("holderIdentity")
        if holder != self._identity:
            self._renewed_at = None
            raise LostError(f"The Lease {self.name} in {self.namespace} has been taken by {holder or 'nobody'}.")
        self._found = found
        await self._written(self._identity)

    async def _written(self, holder: str) -> None:
        """Only over the very version that was read: of two who try, one does it."""
        at = self._clock()
        body = copy.deepcopy(self._found or {})
        body["spec"] = {**_spec(self._found), **self._wanted(holder)}
        former = self.holder
        self._found = await self._api.replace(LEASES, self.namespace, body, seconds=CALL_SECONDS)
        if holder:
            self._renewed_at = at
            self.former = former if former != holder else self.former

    def _wanted(self, holder: str) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._api.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = _spec(self._found)
        others = bool(holder) and self._found is not None and self.holder != holder
        return {
            "holderIdentity": holder,
            # A released one is short, as client-go has it; 0 isn't allowed.
            "leaseDurationSeconds": int(self._times.duration) if holder else 1,
            "acquireTime": now if others or not holder else spec.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": max(self._least, self.transitions + others),
        }


def _spec(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (found or {}).get("spec") or {}
