"""Watches single Secrets by name: all that the operator's rights allow, and all that it wants to be told of.

A watch decides nothing: it wakes a resource, whose look reads the Secret anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from slipway_operator.cluster import SECRETS, Api, ApiError, is_refusal
from slipway_operator.worklist import Key

log = logging.getLogger(__name__)

LIMIT = 2000
"""Most Secrets that are watched; of any beyond, changes are seen at the next look."""
WATCH_SECONDS = 600
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds, each with jitter, between two watches: doubled from the first to this while they end sooner than this."""

Wake = Callable[[Key], None]


class NamedSecrets:
    """One watch for each followed resource, opened anew whenever it ends. Only the event loop's thread may call."""

    def __init__(self, api: Api, *, limit: int = LIMIT, jitter: random.Random | None = None) -> None:
        self._api = api
        self._wake: Wake | None = None
        self._limit = limit
        self._jitter = jitter or random.Random()  # noqa: S311 - it only spreads load
        self._watches: dict[Key, tuple[str, asyncio.Task[None]]] = {}
        self._full = False

    def start(self, wake: Wake) -> None:
        """From now on changes wake; what was asked for before is watched by the next `follow`."""
        self._wake = wake

    def follow(self, key: Key, name: str) -> None:
        """Wake `key` whenever the Secret of that name in its namespace may have changed."""
        watched = self._watches.get(key)
        if self._wake is None or (watched is not None and watched[0] == name and not watched[1].done()):
            return
        self.forget(key)
        if len(self._watches) >= self._limit:
            if not self._full:
                log.warning("%d Secrets are watched: changes of others, as of %s, are seen late.", self._limit, name)
            self._full = True
            return
        self._full = False
        self._watches[key] = (name, asyncio.create_task(self._watch(key, name, self._wake), name=f"secret {name}"))

    def forget(self, key: Key) -> None:
        watched = self._watches.pop(key, None)
        if watched is not None:
            watched[1].cancel()

    async def stop(self) -> None:
        tasks = [task for _, task in self._watches.values()]
        self._watches.clear()
        self._wake = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, key: Key, name: str, wake: Wake) -> None:
        clock = asyncio.get_running_loop().time
        pause, told = FIRST_PAUSE, False
        while True:
            began = clock()
            trouble, lasting = await self._attempt(key, name, wake)
            if clock() - began >= LONGEST_PAUSE:
                pause, told = FIRST_PAUSE, False
            if trouble:
                level = logging.WARNING if lasting and not told else logging.DEBUG
                log.log(level, "Changes of Secret %s are seen late, because its watch has ended: %s", name, trouble)
                told = told or lasting
            # One that ends soon costs a look each time that it is opened, so it is opened less and less often.
            await asyncio.sleep(pause * self._jitter.uniform(0.75, 1.25))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _attempt(self, key: Key, name: str, wake: Wake) -> tuple[str, bool]:
        """What ended a watch before its time, if anything did, and whether that stays until a person acts."""
        seconds = int(WATCH_SECONDS * self._jitter.uniform(0.75, 1.0))
        try:
            async for _ in self._api.changes(SECRETS, key.namespace, name, seconds=seconds):
                # Once when it opens, too: what changed before that is told by no watch.
                wake(key)
        except ApiError as error:
            return str(error), is_refusal(error)
        except Exception as error:  # noqa: BLE001 - nothing may end the task, which no one else would start anew soon
            return type(error).__name__, True  # what such an error says may repeat what the server sent
        return "", False
