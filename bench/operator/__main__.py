# ruff: noqa: A005 - named for what it measures, and a folder so that it hides nothing
"""The benchmark of the operator: `python bench/operator [--resources 500] [--changes 300] [--idle 120] [--markdown]`.

A real API server holds the SchemaMigrations; their Jobs belong to another manager and are ended by the benchmark. It
is a folder without __init__.py, because a module operator.py would hide the standard library's from its neighbours.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "k8s-tests"), str(ROOT / "tests")]

from bench.operator.fakes import DEPLOYMENTS, MIGRATIONS, Ender, deployment, migration  # noqa: E402
from bench.report import Figure, as_markdown, as_text  # noqa: E402

from cluster.model import RESTRICTED, Cluster  # noqa: E402
from cluster.provider import open_cluster  # noqa: E402
from servers.waiting import free_port, until  # noqa: E402
from slipway_operator import definitions  # noqa: E402
from slipway_operator.cluster import Api  # noqa: E402

MIB = 1 << 20
HOUR = 3600.0
GOAL_SECONDS = 1.0
GOAL_MIB = 100.0
READY_SECONDS = 600.0
STOP_SECONDS = 30.0
PAUSE = 0.1
"""Seconds between two changes."""
CREATED_AT_A_TIME = 8

Samples = dict[str, float]


@dataclass(frozen=True)
class Measured:
    ready_after: float
    latencies: list[float]
    idle_mib: float
    peak_mib: float
    idle_calls: dict[str, float]
    """An hour, by method."""


def tell(text: str) -> None:
    """Progress goes to standard error, so that standard output is the table."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Operator:
    process: asyncio.subprocess.Process
    url: str

    async def samples(self) -> Samples:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            text = await response.text()
        families = text_string_to_metric_families(text)
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    async def at_rest(self) -> bool:
        """Whether nothing waits to be looked at."""
        samples = await self.samples()
        return not any(samples[f"slipway_operator_queue {state}"] for state in ("now", "running"))

    def peak_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@asynccontextmanager
async def running(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    """The operator in a process of its own; it must end well."""
    port = free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PYTHONPATH": str(ROOT),
        "SLIPWAY_OPERATOR_NAMESPACES": namespace,
        "SLIPWAY_OPERATOR_OPS_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.operator.served", env=environment, cwd=ROOT, stdout=sys.stderr
    )
    try:
        yield Operator(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        ended = await asyncio.wait_for(process.wait(), STOP_SECONDS)
    if ended:
        raise RuntimeError(f"The operator ended with {ended}.")


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


async def idle_calls(operator: Operator, seconds: float) -> tuple[dict[str, float], float]:
    """Calls to the API server by method, extrapolated to an hour, and the resident memory in MiB after it."""
    before = await operator.samples()
    await asyncio.sleep(seconds)
    after = await operator.samples()
    name = "benchmark_api_calls_total "
    calls = {
        key.removeprefix(name): (value - before.get(key, 0.0)) * HOUR / seconds
        for key, value in after.items()
        if key.startswith(name)
    }
    return calls, after["process_resident_memory_bytes"] / MIB


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


@contextmanager
def place(cluster: Cluster) -> Iterator[str]:
    """A namespace that is told to go, and not waited for: with so much in it that takes minutes."""
    name = f"benchmark-{uuid4().hex[:6]}"
    metadata = {"name": name, "labels": RESTRICTED}
    cluster.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    try:
        yield name
    finally:
        cluster.kubectl.run("delete", "namespace", name, "--wait=false")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python bench/operator")
    parser.add_argument("--resources", type=int, default=500)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--idle", type=float, default=120.0, help="seconds")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    with open_cluster() as cluster:
        if not cluster.kubectl.run("get", "crd", "schemamigrations.slipway.dev", "--ignore-not-found"):
            cluster.kubectl.apply(definitions.as_stream())
        with place(cluster) as namespace:
            measured = asyncio.run(measure(cluster, namespace, options))
    table = figures(options.resources, measured)
    print(as_markdown(table) if options.markdown else as_text(table))


if __name__ == "__main__":
    main()
