"""Five hundred KeyRings: how long a nonce takes to another signing key in the Secret, and what they cost while idle."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.operator.process import Operator, idle_calls, running, tell
from bench.operator.ring_fakes import Pods, pod, ring, running_pod
from bench.report import Figure

from cluster.model import Cluster
from servers.waiting import free_port, until
from slipway_operator.cluster import Api, Resource

RINGS = Resource("slipway.dev", "v1alpha1", "keyrings")
PODS = Resource("", "v1", "pods")
GOAL_SECONDS = 1.0
STABLE_SECONDS = 600.0
PAUSE = 0.1
"""Seconds between two nonces."""
CREATED_AT_A_TIME = 8


@dataclass(frozen=True)
class Measured:
    stable_after: float
    latencies: list[float]
    idle_mib: float
    peak_mib: float
    idle_calls: dict[str, float]
    """An hour, by method."""


async def create_all(api: Api, namespace: str, count: int, port: int) -> None:
    at_a_time = asyncio.Semaphore(CREATED_AT_A_TIME)

    async def create(number: int) -> None:
        async with at_a_time:
            await api.create(PODS, namespace, pod(number))
            await api.apply_status(PODS, namespace, running_pod(number))
            await api.create(RINGS, namespace, ring(number, port))

    await asyncio.gather(*(create(number) for number in range(count)))


async def until_ripe(api: Api, namespace: str) -> None:
    """Until each ring is Stable, and its reserve may sign."""
    async with asyncio.timeout(STABLE_SECONDS):
        while True:
            found = await api.list(RINGS, namespace)
            stable = sum(is_ripe(one) for one in found)
            tell(f"  {stable} of {len(found)} are Stable")
            if stable == len(found):
                return
            await asyncio.sleep(2)


def is_ripe(found: dict[str, Any]) -> bool:
    status = found["status"]
    ready = next((one for one in status["conditions"] if one["type"] == "Ready"), {})
    reserves = [key for key in status.get("keys", []) if key["state"] == "Published"]
    confirmed = [key["confirmed"] for key in reserves if key.get("confirmed")]
    return bool(ready.get("reason") == "Stable" and confirmed and _age(confirmed[0]) > 4)


def _age(moment: str) -> float:
    return time.time() - datetime.fromisoformat(moment).timestamp()


async def rotate(api: Api, namespace: str, pods: Pods, port: int, numbers: range) -> list[float]:
    """Seconds from the write of a nonce to the sight of the Secret that names another signing key, for each."""
    begun: dict[str, float] = {}
    known = {name: len(times) for name, times in pods.signing_since.items()}
    for number in numbers:
        wish = ring(number, port, nonce="now")
        begun[wish["metadata"]["name"]] = time.monotonic()
        await api.apply(RINGS, namespace, wish)
        await asyncio.sleep(PAUSE)
    await until(lambda: all(len(pods.signing_since[name]) > known[name] for name in begun), within=60)
    return [pods.signing_since[name][known[name]] - at for name, at in begun.items()]


async def quiet(operator: Operator) -> None:
    await until(operator.at_rest, within=STABLE_SECONDS)


async def measure(cluster: Cluster, namespace: str, options: argparse.Namespace) -> Measured:
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
    port = free_port()
    pods = Pods(cluster.kubectl, namespace)
    async with Api() as api, pods.answering(port), running(cluster, namespace) as operator:
        tell(f"{options.resources} KeyRings, until each is Stable …")
        begun = time.monotonic()
        await create_all(api, namespace, options.resources, port)
        await until_ripe(api, namespace)
        stable_after = time.monotonic() - begun
        tell(f"{options.idle} s of quiet …")
        await quiet(operator)
        calls, resident = await idle_calls(operator, options.idle)
        count = min(options.changes, options.resources)
        tell(f"{count} nonces …")
        latencies = await rotate(api, namespace, pods, port, range(count))
        return Measured(stable_after, latencies, resident, operator.peak_mib(), calls)


def figures(count: int, measured: Measured) -> list[Figure]:
    latencies = sorted(measured.latencies)
    p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
    calls = sum(measured.idle_calls.values())
    by_method = ", ".join(f"{method} {number:.0f}" for method, number in sorted(measured.idle_calls.items()) if number)
    return [
        Figure(f"{count} KeyRings created, until all are Stable", f"{measured.stable_after:.0f} s"),
        Figure("nonce to the Secret with another signing key, p50", f"{statistics.median(latencies):.3f} s"),
        Figure(
            f"nonce to the Secret with another signing key, p99 of {len(latencies)}",
            f"{p99:.3f} s ({p99 / GOAL_SECONDS:.2f} of the goal)",
            goal="≤ 1 s",
        ),
        Figure(f"resident memory, {count} KeyRings, idle", f"{measured.idle_mib:.0f} MiB"),
        Figure("resident memory, peak, KeyRings", f"{measured.peak_mib:.0f} MiB"),
        Figure(
            f"API calls an hour, {count} KeyRings, idle",
            f"{calls:.0f} ({by_method}; {calls / count:.0f} a KeyRing)",
            goal="watches, the Lease, a look each 5 min",
        ),
    ]
