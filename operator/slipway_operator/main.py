"""`slipway-operator`: run, crds, version."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import click

from slipway_operator import definitions, logs, ops, telemetry, watch
from slipway_operator.cluster import Api
from slipway_operator.evidence.asking import open_http
from slipway_operator.exclusion import Exclusion
from slipway_operator.keyrings.reconcile import KeyRings
from slipway_operator.leases import Leases, Served
from slipway_operator.logins.reconcile import DatabaseLogins
from slipway_operator.migrations.reconcile import Migrations
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.settings import Settings, SettingsError
from slipway_operator.worklist import Reconciler, Worklist

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
"""How long looks that are under way may take after SIGTERM."""
UNWATCH_SECONDS = 8.0

Reconcilers = Callable[[Api, aiohttp.ClientSession, NamedSecrets], Mapping[str, Reconciler]]


class OperatorError(Exception):
    """A part that must run for ever has ended."""


@click.group()
def main() -> None:
    """The Slipway operator: schema migrations as cluster resources change."""


@main.command()
def run() -> None:
    """Serve the cluster until SIGTERM. Settings: SLIPWAY_OPERATOR_*."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    logs.configure(settings.log_level)
    try:
        asyncio.run(operate(settings, Api()))
    except Exception:
        # Whatever ends the process must be told as a line of the log like any other, not as a bare traceback.
        log.exception("The operator ends.")
        raise SystemExit(1) from None


@main.command()
def crds() -> None:
    """Print the CustomResourceDefinitions of this version, for `kubectl apply --server-side -f -`."""
    click.echo(definitions.as_stream(), nl=False)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(importlib.metadata.version("slipway"))


def reconcilers(api: Api, http: aiohttp.ClientSession, secrets: NamedSecrets) -> Mapping[str, Reconciler]:
    """By kind. `http` asks pods; `secrets` watches those that are written."""
    exclusion = Exclusion()
    return {
        watch.MIGRATION: Migrations(api, exclusion=exclusion),
        watch.KEY_RING: KeyRings(api, http, secrets),
        watch.LOGIN: DatabaseLogins(api, http, secrets, exclusion),
    }


async def operate(settings: Settings, api: Api, kinds: Reconcilers = reconcilers) -> None:
    """Serve until SIGTERM or SIGINT, then let end what runs. OperatorError when a part that must run ended before."""
    stop = asyncio.Event()
    _on_signals(stop)
    health = ops.Health()
    secrets = NamedSecrets(api)
    # The Leases have connections of their own: no crowd of other calls may keep them waiting.
    async with (
        api,
        Api(api.login) as leasing,
        open_http() as http,
        ops.served(health, settings.ops_host, settings.ops_port) as port,
    ):
        log.info("Ops port %d is open; serving %s.", port, ", ".join(settings.namespaces) or "the whole cluster")
        api.namespace = settings.namespace
        leases = Leases(leasing, settings)
        api.guard = leases
        leasing.clock = api.clock
        telemetry.CLOCK_SKEW.set_function(api.clock.skew)
        ready = await _until(definitions.until_served(api), stop) and await _until(
            leases.until_held(health.waits), stop
        )
        if ready:
            worklist = Worklist({kind: Served(one, leases) for kind, one in kinds(api, http, secrets).items()})
            leases.start(worklist.wake)
            secrets.start(worklist.wake)
            mending = asyncio.create_task(definitions.until_whole(api), name="definitions")
            try:
                await _serve(api, settings, leases, worklist, health, stop)
            finally:
                mending.cancel()
                await secrets.stop()
    log.info("Stopped.")


async def _serve(
    api: Api, settings: Settings, leases: Leases, worklist: Worklist, health: ops.Health, stop: asyncio.Event
) -> None:
    unwatch = asyncio.Event()
    signalled = asyncio.create_task(stop.wait(), name="stop")
    keeping = asyncio.create_task(leases.keep(), name="Leases")
    workers = worklist.start()

    def started() -> None:
        _on_signals(stop)  # kopf has put its own handlers in their place
        health.watching()

    watching = asyncio.create_task(
        watch.watch(api, settings, worklist, health.events, leases, unwatch, started=started), name="watches"
    )
    try:
        ended, _ = await asyncio.wait({signalled, keeping, watching, *workers}, return_when=asyncio.FIRST_COMPLETED)
        health.stopping = True
        # Whoever has lost its Lease may change nothing any more: there is nothing to wait for.
        within = 0.0 if keeping in ended else STOP_SECONDS
        log.info("Stopping: looks that are under way have %.0f s to end.", within)
        if not await worklist.stop(within):
            log.warning("A look took longer and was broken off.")
    finally:
        unwatch.set()
        giving = asyncio.create_task(_give_back(leases, keeping))
        await asyncio.wait({giving, watching}, timeout=UNWATCH_SECONDS)
    for task in ended - {signalled}:
        raise OperatorError(f"{task.get_name()} ended by itself.") from task.exception()


async def _give_back(leases: Leases, keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await leases.release()


async def _until(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether `work` ended before `stop` was set; else it is broken off."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return False
    stopped.cancel()
    task.result()
    return True


def _on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
