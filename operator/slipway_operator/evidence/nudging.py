"""Makes the kubelet look at pods whose files are behind, and no more often than helps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from slipway_operator.cluster import PODS, Api, ApiError, ForbiddenError
from slipway_operator.worklist import Key

log = logging.getLogger(__name__)

NUDGE = "slipway.dev/secrets"
"""Annotation of pods: another value makes the kubelet look at the pod, and so at its Secrets, at once."""
AT_A_TIME = 32
SOON_AFTER, AGAIN_AFTER = 1.0, 5.0
"""Seconds until the second nudge, and each later one. When the first came, the kubelet's own cache of the Secret may
have been behind."""


class Nudges:
    """Remembers when each resource's pods were nudged, and whether that is refused."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._due: dict[Key, float] = {}
        self._refused: set[Key] = set()

    async def at_once(self, key: Key, pods: Iterable[str], now: float) -> None:
        """After each write of the Secret."""
        await self._nudge(key, pods, now, SOON_AFTER)

    async def again(self, key: Key, pods: tuple[str, ...], now: float) -> None:
        """Those that still don't follow, from time to time."""
        if pods and now >= self._due.get(key, 0.0):
            await self._nudge(key, pods, now, AGAIN_AFTER)

    def forget(self, key: Key) -> None:
        self._due.pop(key, None)
        self._refused.discard(key)

    async def _nudge(self, key: Key, pods: Iterable[str], now: float, pause: float) -> None:
        self._due[key] = now + pause
        refusal = await nudge(self._api, key.namespace, pods, f"{now:.3f}")
        if refusal and key not in self._refused:
            log.warning("Pods load new Secrets at the kubelet's own pace, up to two minutes: %s", refusal)
            self._refused.add(key)
        elif not refusal:
            self._refused.discard(key)


async def nudge(api: Api, namespace: str, pods: Iterable[str], value: str) -> str:
    """Have the kubelet look at these pods now. Why that was refused, if it was: then it looks at its own pace."""
    body = {"metadata": {"annotations": {NUDGE: value}}}
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(pod: str) -> str:
        async with free:
            try:
                await api.patch_status(PODS, namespace, pod, body)
            except ForbiddenError as error:
                return str(error)
            except ApiError:
                pass  # gone meanwhile, or the next look tries again
            return ""

    refusals = await asyncio.gather(*(one(pod) for pod in pods))
    return next((refusal for refusal in refusals if refusal), "")
