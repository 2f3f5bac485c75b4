"""The ops port: metrics and probes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from slipway_operator.lease import KIND
from slipway_operator.listening import listen
from slipway_operator.telemetry import REGISTRY, LastEvents

ANSWER_SECONDS = 5.0
SILENCE = 180.0
"""Seconds without an event of the operator's own Lease after which the watches count as dead."""


@dataclass(slots=True)
class Health:
    """What the probes look at. `watching_since` is monotonic; None before the watches start."""

    events: LastEvents = field(default_factory=LastEvents)
    watching_since: float | None = None
    waiting_for: str = "the cluster"
    standing_by: bool = False
    """Another operator is at work: one that waits for its turn is as it should be, and no rollout waits for more."""
    stopping: bool = False

    def watching(self) -> None:
        self.watching_since = time.monotonic()

    def waits(self, waiting_for: str, standing_by: bool) -> None:  # noqa: FBT001 - as it is told of
        self.waiting_for, self.standing_by = waiting_for, standing_by

    def why_dead(self) -> str | None:
        """A sentence when only a new start helps."""
        if self.watching_since is None or self.stopping:
            return None
        age = self.events.age(KIND)
        silent = time.monotonic() - self.watching_since if age is None else age
        if silent <= SILENCE:
            return None
        return f"The watches have told nothing for {silent:.0f} s; the operator's Lease is renewed every 2 s."

    def why_not_ready(self) -> str | None:
        if self.stopping:
            return "The operator is stopping."
        if self.watching_since is None and self.standing_by:
            return None
        if self.watching_since is None:
            return f"The operator waits for {self.waiting_for}."
        if self.events.age(KIND) is None:
            return "The watches have told nothing yet."
        return self.why_dead()


def application(health: Health) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        encode, media_type = choose_encoder(request.headers.get("Accept", ""))
        return _closing(web.Response(body=encode(REGISTRY), headers={"Content-Type": media_type}))

    app = web.Application()
    app.router.add_get("/livez", _probe(health.why_dead))
    app.router.add_get("/healthz", _probe(health.why_dead))
    app.router.add_get("/readyz", _probe(health.why_not_ready))
    app.router.add_get("/metrics", metrics)
    return app


def _probe(objection: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        why = objection()
        return _closing(web.Response(status=503 if why else 200, text=f"{why or 'ok'}\n"))

    return answer


def _closing(response: web.Response) -> web.Response:
    """No connection outlives its answer: kopf, which shares the loop, waits at its end for tasks it doesn't know."""
    response.headers["Cache-Control"] = "no-store"
    response.force_close()
    return response


@asynccontextmanager
async def served(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """The ops port is open inside; yields its number (another one where `port` is 0). OSError: it is taken."""
    runner = web.AppRunner(application(health), access_log=None, shutdown_timeout=ANSWER_SECONDS)
    await runner.setup()
    try:
        for listener in listen(host, port):
            await web.SockSite(runner, listener).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
