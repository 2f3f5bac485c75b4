"""Five hundred SchemaMigrations: how long a change of image takes to its Job, and what they cost while nothing happens.

Their Jobs belong to another manager and are ended by the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass

from bench.operator.fakes import DEPLOYMENTS, MIGRATIONS, Ender, deployment, migration
from bench.operator.process import idle_calls, running, tell
from bench.report import Figure

from cluster.model import Cluster
from servers.waiting import until
from slipway_operator.cluster import Api

GOAL_SECONDS = 1.0
GOAL_MIB = 100.0
READY_SECONDS = 600.0
PAUSE = 0.1
"""Seconds between two changes."""
CREATED_AT_A_TIME = 8


@dataclass(frozen=True)
class Measured:
    ready_after: float
    latencies: list[float]
    idle_mib: float
    peak_mib: float
    idle_calls: dict[str, float]
    """An hour, by method."""


async def all_ready(api: Api, namespace: str, image: str) -> bool:
    found = await api.list(MIGRATIONS, namespace)
    ready = sum(one["spec"]["image"] == image and is_ready(one) for one in found)
    tell(f"  {ready} of {len(found)} are ready")
    return ready == len(found)


def is_ready(found: dict) -> bool:  # type: ignore[type-arg]
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return current and any(one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"])


async def until_ready(api: Api, namespace: str, image: str, ender: Ender) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while not await all_ready(api, namespace, image):
            if ender.failure is not None:
                raise ender.failure
            await asyncio.sleep(2)


async def create_all(api: Api, namespace: str, count: int, image: str) -> None:
    at_a_time = asyncio.Semaphore(CREATED_AT_A_TIME)

    async def create(number: int) -> None:
        async with at_a_time:
            await api.create(MIGRATIONS, namespace, migration(number, image))

    await api.create(DEPLOYMENTS, namespace, deployment())
    await asyncio.gather(*(create(number) for number in range(count)))


async def change(api: Api, namespace: str, ender: Ender, numbers: range) -> list[float]:
    """Seconds from the write of another image to the sight of the Job, for each."""
    begun: dict[str, float] = {}
    known = {name: len(times) for name, times in ender.seen.items()}
    for number in numbers:
        wish = migration(number, "app:2")
        begun[wish["metadata"]["name"]] = time.monotonic()
        await api.apply(MIGRATIONS, namespace, wish)
        await asyncio.sleep(PAUSE)
    await until(lambda: all(len(ender.seen[name]) > known[name] for name in begun), within=60)
    return [ender.seen[name][known[name]] - at for name, at in begun.items()]


async def measure(cluster: Cluster, namespace: str, options: argparse.Namespace) -> Measured:
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
    async with Api() as api:
        ender = Ender(api, cluster.kubectl, namespace)
        async with ender.watching(), running(cluster, namespace) as operator:
            tell(f"{options.resources} SchemaMigrations, until each is Ready …")
            begun = time.monotonic()
            await create_all(api, namespace, options.resources, "app:1")
            await until_ready(api, namespace, "app:1", ender)
            ready_after = time.monotonic() - begun
            tell(f"{options.idle} s of quiet …")
            await until(operator.at_rest, within=READY_SECONDS)
            calls, resident = await idle_calls(operator, options.idle)
            tell(f"{options.changes} changes of image …")
            latencies = await change(api, namespace, ender, range(min(options.changes, options.resources)))
            return Measured(ready_after, latencies, resident, operator.peak_mib(), calls)


def figures(count: int, measured: Measured) -> list[Figure]:
    latencies = sorted(measured.latencies)
    p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
    calls = sum(measured.idle_calls.values())
    by_method = ", ".join(f"{method} {number:.0f}" for method, number in sorted(measured.idle_calls.items()) if number)
    return [
        Figure(f"{count} resources created, until all are Ready", f"{measured.ready_after:.0f} s"),
        Figure("change of spec.image to its Job, p50", f"{statistics.median(latencies):.3f} s"),
        Figure(
            f"change of spec.image to its Job, p99 of {len(latencies)}",
            f"{p99:.3f} s ({p99 / GOAL_SECONDS:.2f} of the goal)",
            goal="≤ 1 s",
        ),
        Figure(
            f"resident memory, {count} resources, idle",
            f"{measured.idle_mib:.0f} MiB ({measured.idle_mib / GOAL_MIB:.2f} of the goal)",
            goal="≤ 100 MiB",
        ),
        Figure("resident memory, peak", f"{measured.peak_mib:.0f} MiB"),
        Figure("API calls an hour, idle", f"{calls:.0f} ({by_method})", goal="watches and the Lease"),
    ]
