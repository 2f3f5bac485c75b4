"""Which namespaces this operator looks after: those whose Lease it holds. It looks nowhere before it has the first.

The home Lease is renewed every two seconds. One of a further namespace is renewed less often, since it counts only
together with the home Lease: who takes that over, has those of the one before at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from slipway_operator import telemetry
from slipway_operator.clock import awake
from slipway_operator.cluster import Api, ApiError, ForbiddenError, NotServedError
from slipway_operator.guard import Guard
from slipway_operator.lease import Lease, LostError, Times
from slipway_operator.settings import LEASE, Settings
from slipway_operator.worklist import Key, Reconciler

log = logging.getLogger(__name__)

HOME = Times(duration=15.0, deadline=10.0, retry=2.0)
FURTHER = Times(duration=60.0, deadline=40.0, retry=15.0)
SOONEST = 0.1
IDLE_SECONDS = 60.0
"""How long a further Lease is kept when the last resource of its namespace has gone."""

Wake = Callable[[Key], None]


@dataclass(slots=True)
class _Served:
    """A namespace beyond the home Lease's. `keys`: resources that are known in it."""

    lease: Lease
    keys: set[Key] = field(default_factory=set)
    emptied_at: float = 0.0
    refused: bool = False
    given_up: int | None = None
    """Its transitions when it could be renewed no more, though nobody took it; None: that never was so."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    told: str = ""


class Leases(Guard):
    """Only the event loop's thread may call. `clock` is monotonic, in seconds."""

    def __init__(self, api: Api, settings: Settings, *, clock: Callable[[], float] = awake) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._jitter = random.Random()  # noqa: S311 - it only spreads load
        self.identity = f"{settings.identity}_{uuid4().hex[:12]}"
        """As client-go has it: a process that starts anew in the same pod is another."""
        self.home = self._lease(settings.home_namespace, settings.home_lease, HOME)
        self._served: dict[str, _Served] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lost: asyncio.Future[None] | None = None
        self._wake: Wake = lambda _: None

    def start(self, wake: Wake) -> None:
        """From now on resources of a namespace that is taken over are woken."""
        self._wake = wake

    async def until_held(self, tell: Callable[[str, bool], None]) -> None:
        """Returns when the home Lease is held. `tell`: what it waits for, and whether another operator is at work."""
        told, home = "", self.home
        while True:
            try:
                if await home.attempt():
                    break
                problem = f"the Lease {home.name} in {home.namespace}, which {home.holder or 'nobody'} holds"
            except ApiError as error:
                problem = f"the Lease {home.name} in {home.namespace}: {error}"
                tell(problem, False)
            else:
                tell(problem, True)
            if problem != told:
                log.warning("The operator waits for %s.", problem)
                told = problem
            await asyncio.sleep(min(self._pause(HOME), max(SOONEST, home.due())))
        log.info("Holds the Lease %s in %s as %s.", home.name, home.namespace, self.identity)

    async def keep(self) -> None:
        """Renew what is held, for ever. LostError when one is lost: nothing that it guarded may go on."""
        self._lost = asyncio.get_running_loop().create_future()
        home = asyncio.create_task(self._keep(self.home, HOME), name="home Lease")
        try:
            await asyncio.wait({home, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (home, self._lost):
                if ended.done():
                    ended.result()
        finally:
            for task in (home, *self._tasks):
                task.cancel()
            await asyncio.gather(home, *self._tasks, return_exceptions=True)

    async def release(self) -> None:
        """Give all back, so that nobody has to wait. What can't be given back ends by itself."""
        held = [one.lease for one in self._served.values() if one.lease.held]
        # The home Lease last: whoever has it takes the others for free.
        for leases in (held, [self.home]):
            found = await asyncio.gather(*(lease.release() for lease in leases), return_exceptions=True)
            for error in filter(None, found):
                log.warning("A Lease couldn't be given back: %s", error)

    def came(self, key: Key) -> None:
        """That resource is there: its namespace is looked after from now on, unless another does."""
        if self._is_home(key.namespace):
            return
        served = self._served.get(key.namespace)
        if served is None:
            served = self._served[key.namespace] = _Served(self._lease(key.namespace, LEASE, FURTHER))
            self._tasks.append(asyncio.create_task(self._serve(served), name=f"Lease in {key.namespace}"))
        if key not in served.keys:
            served.keys.add(key)
            served.changed.set()

    def gone(self, key: Key) -> None:
        """That resource isn't there any more."""
        served = self._served.get(key.namespace)
        if served is not None:
            served.keys.discard(key)
            served.emptied_at = self._clock()

    def serves(self, namespace: str) -> bool:
        """Whether this operator looks after what is there; if not, resources that came are woken when it does."""
        served = self._served.get(namespace)
        return self._is_home(namespace) or (served is not None and served.lease.held)

    def left(self, namespace: str) -> float:
        """Seconds that a change in this namespace may take that begins now. NotServedError: none may begin."""
        seconds = self.home.left()
        if not self._is_home(namespace):
            served = self._served.get(namespace)
            seconds = min(seconds, served.lease.left() if served else 0.0)
        if seconds <= 0:
            raise NotServedError(namespace)
        return seconds

    def term(self, namespace: str) -> int:
        """A number that only grows with those who look after a namespace, one after the other."""
        return self._of(namespace).transitions

    def outnumber(self, namespace: str, term: int) -> None:
        """Somebody remembers a greater term than ours, whose Lease is gone: have ours be greater soon."""
        self._of(namespace).outnumber(term)

    def is_own(self, found: Mapping[str, Any]) -> bool:
        """Whether it was this very process that renewed this Lease last, and it is the home Lease."""
        named, spec = found["metadata"], found.get("spec") or {}
        home = (named.get("namespace"), named.get("name")) == (self.home.namespace, self.home.name)
        return bool(home and spec.get("holderIdentity") == self.identity)

    def _is_home(self, namespace: str) -> bool:
        """Whether its Lease is the home Lease. For a whole cluster that is one that stands for no namespace."""
        return bool(self._settings.namespaces) and namespace == self.home.namespace

    def _of(self, namespace: str) -> Lease:
        served = self._served.get(namespace)
        return served.lease if served and not self._is_home(namespace) else self.home

    def _lease(self, namespace: str, name: str, times: Times) -> Lease:
        lease = Lease(self._api, namespace, name, self.identity, times, clock=self._clock, gone=self._is_predecessor)
        telemetry.LEASE_HELD.labels(namespace, name).set_function(lambda: float(lease.left() > 0))
        telemetry.LEASE_AGE.labels(namespace, name).set_function(lambda: lease.age() or 0.0)
        telemetry.LEASE_TRANSITIONS.labels(namespace, name).set_function(lambda: float(lease.transitions))
        return lease

    def _is_predecessor(self, holder: str) -> bool:
        """Whoever had the home Lease before can't have it now, and does nothing without it."""
        return self.home.held and holder == self.home.former

    def _pause(self, times: Times) -> float:
        return times.retry * self._jitter.uniform(0.8, 1.2)

    async def _keep(self, lease: Lease, times: Times) -> None:
        failing = ""
        while True:
            await asyncio.sleep(self._pause(times))
            try:
                await lease.renew()
            except ApiError as error:
                if str(error) != failing:
                    log.warning("The Lease %s in %s can't be renewed: %s", lease.name, lease.namespace, error)
                failing = str(error)
            else:
                failing = ""

    async def _serve(self, served: _Served) -> None:
        """Take a further namespace's Lease once it is free, and keep it while there is something to look after."""
        while True:
            served.changed.clear()
            try:
                await self._step(served)
            except LostError as lost:
                if not (served.refused and served.lease.holder == self.identity):
                    self._end(lost)
                    return
                # Such as a namespace whose Role is gone: nothing can be changed there, and that's no other's loss.
                served.given_up = served.lease.transitions
                served.lease.give_up()
            except ApiError as error:
                served.refused = isinstance(error, ForbiddenError)
                self._say(
                    served, f"The Lease {served.lease.name} in {served.lease.namespace} can't be written: {error}"
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(served.changed.wait(), self._pause(FURTHER))

    async def _step(self, served: _Served) -> None:
        lease = served.lease
        if lease.held:
            if served.keys or self._clock() - served.emptied_at < IDLE_SECONDS:
                await lease.renew()
                served.refused = False
            else:
                await lease.release()
        elif served.keys and await lease.attempt():
            served.refused = False
            if served.given_up not in (None, lease.transitions):
                raise LostError(
                    f"Another operator has looked after {lease.namespace} since this one had to give it up."
                )
            self._say(served, f"Namespace {lease.namespace} is looked after.")
            for key in served.keys:
                self._wake(key)
        elif served.keys:
            self._say(
                served, f"ServedByOther: namespace {lease.namespace} is left alone: {lease.holder} holds its Lease."
            )

    def _say(self, served: _Served, text: str) -> None:
        if text != served.told:
            log.warning(text)
            served.told = text

    def _end(self, lost: LostError) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(lost)


class Served:
    """A reconciler that leaves resources alone whose namespace another operator looks after."""

    def __init__(self, reconciler: Reconciler, leases: Leases) -> None:
        self._reconciler = reconciler
        self._leases = leases

    async def reconcile(self, key: Key) -> float | None:
        return await self._reconciler.reconcile(key) if self._leases.serves(key.namespace) else None
