"""Which of the namespaces that were named are watched: one that is gone, or has no Role, keeps no other from it.

kopf ends as a whole when one of its watches is refused for half a minute. So each namespace but the operator's home is
asked for now and then, and is left out while the API server refuses it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable

# What `spawn_tasks` takes; kopf names it nowhere else.
from kopf._cogs.structs.references import Insights, NamespaceName

from slipway_operator.cluster import Api, ApiError, ForbiddenError
from slipway_operator.lease import LEASES
from slipway_operator.settings import LEASE

log = logging.getLogger(__name__)

SECONDS = 8.0
"""Between two looks: a watch that is refused ends after 23 s at the least."""


async def keep(api: Api, further: Iterable[str], insights: Insights, *, pause: float = SECONDS) -> None:
    """For ever: have kopf watch those of `further` that aren't refused. What can't be reached stays as it is."""
    refused: dict[str, bool] = {}
    while True:
        for namespace in further:
            try:
                await api.get(LEASES, namespace, LEASE)
            except ForbiddenError as error:
                if not refused.get(namespace):
                    log.warning("Namespace %s isn't watched: %s", namespace, error)
                refused[namespace] = True
            except ApiError as error:
                log.debug("Namespace %s can't be asked for: %s", namespace, error)
            else:
                if refused.get(namespace):
                    log.warning("Namespace %s is watched again.", namespace)
                refused[namespace] = False
        watched = {NamespaceName(namespace) for namespace, no in refused.items() if not no}
        async with insights.revised:
            if not watched <= insights.namespaces or insights.namespaces & (refused.keys() - watched):
                insights.namespaces.difference_update(refused.keys() - watched)
                insights.namespaces.update(watched)
                insights.revised.notify_all()
        await asyncio.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311 - it only spreads load
